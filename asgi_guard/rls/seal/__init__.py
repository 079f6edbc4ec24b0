"""The seal: a tenant context that SQL cannot forge.

The plain binding stops code that forgets the tenant. It does not stop SQL that an attacker got
into a statement: the app's own role may set any setting. With ``RLSVariables(sealed=True)`` the
setting carries a token signed by the app process, and the functions that policies ask verify it
inside PostgreSQL, with a key that the app's role cannot read. Injected SQL then stays inside the
tenant whose request it came with.

It does not stop code execution in the app process, which holds the signing key, nor what
injected SQL does inside the transaction's own tenant.
"""

from asgi_guard.rls.seal.keys import SealKey, SealKeys
from asgi_guard.rls.seal.token import Sealer

__all__ = ["SealKey", "SealKeys", "Sealer"]
