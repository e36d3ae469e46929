"""The guard of every request: limits on the body's size and time, and headers against content guessing and framing."""

from __future__ import annotations

import asyncio

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY = 4 * 2**20
BODY_S = 30.0  # for the whole body, from the request's head on
CLOSED = "the handler is closed"  # uvloop's words for a connection that is gone
HEADERS = ((b"x-content-type-options", b"nosniff"), (b"x-frame-options", b"DENY"))


class TooLarge(HTTPException):
    """The body is over the limit: 413."""

    def __init__(self, most: int = MAX_BODY) -> None:
        super().__init__(413, f"The request body is over {most} bytes.")


class TooSlow(HTTPException):
    """The body took too long: 408."""

    def __init__(self) -> None:
        headers = {"Connection": "close"}  # the rest of the body may never come
        super().__init__(408, f"The request body took more than {BODY_S:g} seconds.", headers)


class Guard:
    """ASGI middleware that leaves streams as they are."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        seen, whole = 0, False
        until = asyncio.get_running_loop().time() + BODY_S

        async def limited() -> Message:
            nonlocal seen, whole
            if whole:  # what comes now is that the client went away
                return await receive()
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError:
                raise TooSlow from None
            whole = not message.get("more_body", False)
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
