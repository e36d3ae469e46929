"""Guards every request: size of the body, and headers that keep browsers from guessing or framing."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY = 4 * 2**20
CLOSED = "the handler is closed"  # uvloop's words for a connection that is gone
HEADERS = ((b"x-content-type-options", b"nosniff"), (b"x-frame-options", b"DENY"))


class TooLarge(HTTPException):
    """The body is over the limit."""

    def __init__(self) -> None:
        super().__init__(413, f"The request body is over {MAX_BODY} bytes.")


class Guard:
    """ASGI middleware that leaves streams as they are."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        seen = 0

        async def limited() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > MAX_BODY:
                raise TooLarge
            return message

        async def headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *HEADERS]
            try:
                await send(message)
            except RuntimeError as error:
                if CLOSED not in str(error):
                    raise
                # the client went away, and uvicorn, which would say nothing then, has not noticed yet

        await self._app(scope, limited, headed)
