"""Drift: where a database departs from what `TenantPolicies` would write, and the SQL between.

Unlike the audit, which asks as the app whether isolation is real, this asks as whoever migrates
whether the database is as described, to the letter, and says how to get there and back. The way
back never opens a table.
"""
