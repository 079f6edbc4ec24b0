"""Which pages of other origins may read this app's answers (CORS, the Fetch standard).

Protects signed-in users against pages that read with their cookies: only listed origins get a
grant, a refusal carries none at all, and a setting that lets in origins anybody can have does not
start. Says nothing about who may *write*: that is the cross-origin middleware's part.
"""

from __future__ import annotations

from asgi_guard.cors.explain import Explanation, explain
from asgi_guard.cors.lint import lint, lint_settings
from asgi_guard.cors.middleware import CORSAllowlistMiddleware, CORSDeniedError
from asgi_guard.cors.policy import CORSPolicy
from asgi_guard.cors.routes import cors_policy

__all__ = [
    "CORSAllowlistMiddleware",
    "CORSDeniedError",
    "CORSPolicy",
    "Explanation",
    "cors_policy",
    "explain",
    "lint",
    "lint_settings",
]
