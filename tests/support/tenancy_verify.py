"""Verify one token with the authenticator of `tenancy_tokens`."""

from __future__ import annotations

from typing import Any

import pytest

from asgi_guard.errors import AuthenticationError
from asgi_guard.protocols import Principal
from tests.support.tenancy_tokens import authenticator

__all__ = ["reason", "verify"]


async def verify(token: bytes, **settings: Any) -> Principal:
    """Verify *token*; there must be a principal."""
    headers = [(b"authorization", b"Bearer " + token)]
    principal = await authenticator(**settings).authenticate({"type": "http", "headers": headers})
    assert principal is not None
    return principal


async def reason(token: bytes, **settings: Any) -> str:
    """Verify *token*, which must be refused; return why."""
    with pytest.raises(AuthenticationError) as caught:
        await verify(token, **settings)
    assert caught.value.headers == ((b"www-authenticate", b'Bearer error="invalid_token"'),)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None, "a decoder's error would quote the token"
    return caught.value.reason
