"""Keeps pages of other sites from acting in the name of whoever visits them.

A browser attaches a visitor's cookies to every request, no matter which page caused it. So any
page can post a form to the app (CSRF), load its data as script or image and watch what happens
(XS-Leaks), or open a WebSocket that no same-origin policy guards (cross-site WebSocket
hijacking). The browser says which page asks; this room reads it and refuses strangers, without
tokens, sessions or changes to any form.
"""

from __future__ import annotations

from asgi_guard.cross_origin.evidence import Evidence
from asgi_guard.cross_origin.middleware import CrossOriginMiddleware
from asgi_guard.cross_origin.policy import CrossOriginPolicy, Decision, Verdict

__all__ = ["CrossOriginMiddleware", "CrossOriginPolicy", "Decision", "Evidence", "Verdict"]
