"""The command line, a thin client of the public API.

``asgi-guard demo`` shows the library at work. Each command prints what it does and what to do
about an error, and exits with 0 only if everything held.
"""
