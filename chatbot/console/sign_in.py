"""Signing in to the console with an API key, and out again. The key is not stored; the session is encrypted."""

from __future__ import annotations

from urllib.parse import parse_qsl

import anyio.to_thread
from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from chatbot.api.auth import CONSOLE_COOKIE, CONSOLE_S, console_session, same_origin, signed_in
from chatbot.api.caller import Caller
from chatbot.api.services import ServicesDep, services_of
from chatbot.console.render import HEADERS, page
from chatbot.keys import check_key
from shoptalk.domain import Scope
from shoptalk.errors import Forbidden, InvalidInput, Unauthenticated

router = APIRouter()
LARGEST_FORM = 16_000  # bytes
UNKNOWN = "This key is not known here, or was revoked."
NO_SCOPE = "This key cannot read: it needs the scope 'read'."


@router.get("/console/login", response_model=None)
async def login_page(request: Request) -> Response:
    """Show the form, or the console for someone already signed in."""
    if await reader(request):
        return redirect("/console")
    return page("login.html", problem=None)


@router.post("/console/login", response_model=None)
async def login(request: Request, services: ServicesDep) -> Response:
    """Check the key; set the console's cookie."""
    secret = (await form(request)).get("key", "").strip()
    try:
        key = await anyio.to_thread.run_sync(check_key, services.store, secret)
    except Unauthenticated:
        return page("login.html", 401, problem=UNKNOWN)
    if not key.allows(Scope.READ):
        return page("login.html", 403, problem=NO_SCOPE)
    response = redirect("/console")
    response.set_cookie(
        CONSOLE_COOKIE,
        console_session(services, key.id),
        max_age=CONSOLE_S,
        path="/",
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return response


@router.post("/console/logout", response_model=None)
async def logout(request: Request) -> Response:
    """Forget the session in this browser."""
    await form(request)
    response = redirect("/console/login")
    response.delete_cookie(CONSOLE_COOKIE, path="/", httponly=True, samesite="strict")
    return response


async def reader(request: Request) -> Caller | None:
    """Return who is signed in and may read; None for nobody."""
    caller = await anyio.to_thread.run_sync(signed_in, services_of(request), request.cookies.get(CONSOLE_COOKIE))
    return caller if caller is not None and caller.allows(Scope.READ) else None


async def form(request: Request) -> dict[str, str]:
    """Return the fields that one of our own forms sent. Raises Forbidden where it came from another site."""
    if not same_origin(request):
        raise Forbidden("This form must be sent from the console's own page.")
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise InvalidInput("a form must be sent as application/x-www-form-urlencoded")
    body = await request.body()
    if len(body) > LARGEST_FORM:
        raise InvalidInput(f"a form may have {LARGEST_FORM} bytes")
    try:
        return dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=20))
    except ValueError:
        raise InvalidInput("the form cannot be read") from None


def redirect(address: str) -> RedirectResponse:
    """Return a redirection after a form."""
    return RedirectResponse(address, 303, HEADERS)
