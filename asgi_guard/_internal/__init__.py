"""Shared mechanisms, one home each. Nothing here is public."""
