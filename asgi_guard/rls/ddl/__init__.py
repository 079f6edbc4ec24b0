"""The statements that make row-level security real, one file per kind of object.

Protects against the statement that nobody wrote: a table created without a policy, an owner that
its policies do not bind, a grant that reaches around them. Everything here is pure text; an
administrator runs it. Names are quoted in one place, `asgi_guard.rls.ddl.names`.
"""
