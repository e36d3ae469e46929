"""The gate: refuses requests over a limit before their body is read, a row looked up or a thread used.

Also puts the limits into every answer's headers, bounds visitors' bodies, and delays answers to addresses that ignore
`Retry-After`. The limits of an API key are known only once the key is: `chatbot.api.auth` asks for those.
"""

from __future__ import annotations

import json
from typing import Final

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chatbot.api.errors import error_body, retry_headers
from chatbot.api.guard import TooLarge
from chatbot.api.limits.addresses import Proxies
from chatbot.api.limits.admission import Admission
from chatbot.api.limits.known import KnownKeys
from chatbot.api.limits.limiter import RequestLimiter, headers
from chatbot.api.limits.unnamed import UnnamedProxies
from chatbot.api.metrics import Metrics
from chatbot.api.sessions import COOKIE, visitor_of
from chatbot.keys import key_hash
from shoptalk.crypto import Secrets
from shoptalk.errors import ShoptalkError

PROBES: Final = frozenset({"/healthz", "/readyz", "/metrics"})  # bounded by themselves, and never refused
MESSAGES: Final = frozenset({"/v1/chat/completions", "/v1/feedback"})
SIGN_INS: Final = frozenset({"/console/login"})


class Gate:
    """ASGI middleware. `visitor_body` limits the body of a request without an API key, in bytes."""

    def __init__(
        self,
        app: ASGIApp,
        limits: RequestLimiter,
        known: KnownKeys,
        proxies: Proxies,
        unnamed: UnnamedProxies,
        secrets: Secrets,
        metrics: Metrics,
        visitor_body: int,
    ) -> None:
        self._app, self._limits, self._known, self._proxies = app, limits, known, proxies
        self._unnamed, self._secrets, self._metrics, self._body = unnamed, secrets, metrics, visitor_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return
        origin = self._proxies.origin((scope.get("client") or ("unknown",))[0], scope["headers"])
        if origin.scheme:
            scope["scheme"] = origin.scheme
        admission = Admission(origin.group)
        scope.setdefault("state", {})["admission"] = admission

        async def concluded(message: Message) -> None:
            if message["type"] == "http.response.start":
                await self._conclude(admission, message)
            await send(message)

        try:
            if origin.unnamed:
                await self._unnamed.note(origin.unnamed)
            await self._admit(scope, admission)
        except (ShoptalkError, OSError) as error:
            await self._refuse(error, concluded)
        else:
            await self._app(scope, self._bounded(admission, receive), concluded)
        finally:
            admission.leave()

    async def _admit(self, scope: Scope, admission: Admission) -> None:
        kind, _, secret = _first(scope, b"authorization").partition(" ")
        if kind.lower() == "bearer" and secret.strip():
            admission.key = key_hash(secret.strip())
            if await self._known.knows(admission.key):
                admission.lane = "keys"
                return
        posts = scope["method"] == "POST"
        if admission.key or (posts and scope["path"] in SIGN_INS):
            await self._limits.admit_attempt(admission)
        elif posts and scope["path"] in MESSAGES:
            cookie = _cookie(_first(scope, b"cookie"))
            if cookie and (visitor := visitor_of(self._secrets, cookie)):
                await self._limits.admit_visitor(admission, visitor)
        await self._limits.admit_anyone(admission)

    async def _conclude(self, admission: Admission, message: Message) -> None:
        """Complete an answer's head before it is sent; hold a refusal back where the address does not wait."""
        if admission.shown:
            message["headers"] = [*message.get("headers", []), *headers(admission.shown)]
        if message["status"] == 401 and admission.key:
            self._known.forget(admission.key)
        elif message["status"] != 401 and admission.attempts:
            self._limits.forgive(admission)
        if message["status"] == 429 and admission.lane == "visitors" and (hold := await self._limits.hold_s(admission)):
            self._limits.holding(1)
            try:
                await anyio.sleep(hold)
            finally:
                self._limits.holding(-1)

    async def _refuse(self, error: Exception, send: Send) -> None:
        status, body = error_body(error)
        self._metrics.errors.labels(str(status)).inc()
        content = json.dumps(body).encode()
        head = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
        head += [(name.lower().encode(), value.encode()) for name, value in retry_headers(error).items()]
        await send({"type": "http.response.start", "status": status, "headers": head})
        await send({"type": "http.response.body", "body": content})

    def _bounded(self, admission: Admission, receive: Receive) -> Receive:
        seen = 0

        async def bounded() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if admission.lane == "visitors" and seen > self._body:
                raise TooLarge(self._body)
            return message

        return bounded


def _first(scope: Scope, wanted: bytes) -> str:
    """Return the value of a header's first line, as starlette takes it."""
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == wanted), "")


def _cookie(header: str) -> str | None:
    for pair in header.split(";"):
        name, _, value = pair.strip().partition("=")
        if name == COOKIE:
            return value.strip().strip('"')
    return None
