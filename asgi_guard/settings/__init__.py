"""How an app is guarded, as one checked object."""
