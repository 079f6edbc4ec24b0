"""The demo: a small notes service for two tenants, guarded from the browser to the row.

Read it in this order: `models` (what is stored), `database` (roles and policies), `identity`
(who signs in), `app` (the service itself), `attacks` (what it withstands), `tour` (the same over
HTTP, without a browser).
"""
