"""A small authorization server on loopback: honest, or hostile in one way that a test names."""

from __future__ import annotations

import base64
import hashlib
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, urlencode

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from asgi_guard.testing.launch import free_port

__all__ = ["Provider", "running_provider"]

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


class Provider:
    """What a test sets, and what was asked.

    Attributes:
        hostile: What it does wrong, by name.
        device: What the token endpoint answers to each device poll, in turn; then tokens.
        metadata: Overrides members of its metadata.
        token: Overrides members of a token answer.
        meanwhile: Happens while a renewal is under way; may return an error to refuse it with.
    """

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.issuer = f"http://{host}:{port}"
        self.hostile = ""
        self.device: list[str] = []
        self.metadata: dict[str, Any] = {}
        self.token: dict[str, Any] = {}
        self.device_answer: dict[str, Any] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.codes: dict[str, dict[str, str]] = {}
        self.refresh: set[str] = set()
        self.revoked: list[str] = []
        self.meanwhile: Callable[[], object] = lambda: None
        self.app = Starlette(
            routes=[
                Route("/.well-known/oauth-authorization-server", self.describe),
                Route("/authorize", self.authorize),
                Route("/token", self.tokens, methods=["POST"]),
                Route("/device", self.start_device, methods=["POST"]),
                Route("/revoke", self.revoke, methods=["POST"]),
            ]
        )

    async def describe(self, _request: Request) -> Response:
        described = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "device_authorization_endpoint": f"{self.issuer}/device",
            "revocation_endpoint": f"{self.issuer}/revoke",
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
            **self.metadata,
        }
        return JSONResponse({name: each for name, each in described.items() if each is not None})

    async def authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        self.asked.append(("authorize", asked))
        code = secrets.token_urlsafe(16)
        self.codes[code] = asked
        answer = {"code": code, "state": asked["state"], "iss": self.issuer}
        if self.hostile == "denied":
            answer = {"error": "access_denied", "state": asked["state"], "iss": self.issuer}
        elif self.hostile == "wrong issuer":
            answer["iss"] = "http://evil.example"
        elif self.hostile == "no issuer":
            del answer["iss"]
        elif self.hostile == "no code":
            del answer["code"]
        elif self.hostile == "escape in error":
            answer = {"error": "\x1b[2Jpwned", "state": asked["state"], "iss": self.issuer}
        if self.hostile == "wrong state":
            answer["state"] = secrets.token_urlsafe(32)
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(answer)}", status_code=302)

    async def tokens(self, request: Request) -> Response:
        form = await read_form(request)
        self.asked.append(("token", form))
        if self.hostile == "busy":
            return Response(status_code=503)
        error = {
            "authorization_code": self.code_error,
            DEVICE_GRANT: self.device_error,
            "refresh_token": self.refresh_error,
            "password": self.password_error,
        }[form["grant_type"]](form)
        if error:
            return JSONResponse({"error": error}, status_code=400)
        new = f"refresh-{secrets.token_hex(8)}"
        self.refresh.add(new)
        answer = {
            "access_token": f"access-{secrets.token_hex(8)}",
            "token_type": "Bearer",
            "expires_in": 600,
            "refresh_token": new,
            "scope": "notes:read",
            **self.token,
        }
        return JSONResponse({name: each for name, each in answer.items() if each is not None})

    def code_error(self, form: dict[str, str]) -> str:
        asked = self.codes.pop(form["code"], None)
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        good = (
            asked is not None
            and asked["code_challenge_method"] == "S256"
            and asked["code_challenge"] == challenge
            and asked["redirect_uri"] == form["redirect_uri"]
            and asked["client_id"] == form["client_id"]
        )
        return "" if good else "invalid_grant"

    def device_error(self, form: dict[str, str]) -> str:
        if form["device_code"] != "device-code":
            return "invalid_grant"
        return self.device.pop(0) if self.device else ""

    def refresh_error(self, form: dict[str, str]) -> str:
        if form["refresh_token"] not in self.refresh:
            return "invalid_grant"
        self.refresh.discard(form["refresh_token"])
        error = self.meanwhile()
        return error if isinstance(error, str) else ""

    def password_error(self, form: dict[str, str]) -> str:
        return "" if (form["username"], form["password"]) == ("alice", "right") else "invalid_grant"

    async def start_device(self, request: Request) -> Response:
        self.asked.append(("device", await read_form(request)))
        answer = {
            "device_code": "device-code",
            "user_code": "WDJB-MJHT",
            "verification_uri": f"{self.issuer}/activate",
            "expires_in": 1800,
            "interval": 5,
            **self.device_answer,
        }
        return JSONResponse({name: each for name, each in answer.items() if each is not None})

    async def revoke(self, request: Request) -> Response:
        form = await read_form(request)
        if self.hostile == "busy":
            return Response(status_code=503)
        self.revoked.append(form["token"].partition("-")[0])
        self.refresh.discard(form["token"])
        return Response()


async def read_form(request: Request) -> dict[str, str]:
    return dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))


@contextmanager
def running_provider(host: str = "127.0.0.1") -> Iterator[Provider]:
    """Serve one on loopback, called *host*, from a thread until the block ends."""
    port = free_port()
    provider = Provider(port, host)
    ready = threading.Event()

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            ready.set()

    server = Server(uvicorn.Config(provider.app, port=port, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert ready.wait(30)
    try:
        yield provider
    finally:
        server.should_exit = True
        thread.join(30)
