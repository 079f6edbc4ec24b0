"""Security headers: what a browser is told to refuse on this app's behalf.

Protects the people who use the app against pages and networks that mean them harm: injected
scripts (Content-Security-Policy with a nonce for each response), framing, sniffed types, leaked
addresses, cross-site readers, downgraded connections and other users' cached answers. Each header
has a file that says what it stops and where that is written.

It is a second wall. It cannot mend an app that writes a user's text into a page unescaped, and a
client that is no browser ignores it.
"""

from asgi_guard.security_headers.clear_site_data import clear_site_data, clear_site_data_value
from asgi_guard.security_headers.collector import CSPReportCollector
from asgi_guard.security_headers.content_security_policy import ContentSecurityPolicy
from asgi_guard.security_headers.csp_hashes import hash_file, hash_inline, inline_script_hashes
from asgi_guard.security_headers.csp_sources import NONCE
from asgi_guard.security_headers.fields import SecurityHeadersWarning
from asgi_guard.security_headers.middleware import SecurityHeadersMiddleware, security_headers
from asgi_guard.security_headers.nonce import csp_nonce, csp_nonce_context
from asgi_guard.security_headers.policy import SecurityHeaders
from asgi_guard.security_headers.strict_transport_security import StrictTransportSecurity

__all__ = [
    "NONCE",
    "CSPReportCollector",
    "ContentSecurityPolicy",
    "SecurityHeaders",
    "SecurityHeadersMiddleware",
    "SecurityHeadersWarning",
    "StrictTransportSecurity",
    "clear_site_data",
    "clear_site_data_value",
    "csp_nonce",
    "csp_nonce_context",
    "hash_file",
    "hash_inline",
    "inline_script_hashes",
    "security_headers",
]
