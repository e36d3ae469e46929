"""Authentication and authorization: an API key in the Authorization header, or a page's session cookie.

A session cookie is encrypted and authenticated by the server, HttpOnly and SameSite=Strict. A request that changes
something by a cookie must come from our own pages (its Origin is checked), so that other sites cannot use it.
"""

from __future__ import annotations

import secrets as std_secrets
from collections.abc import Callable
from typing import Annotated, Any

import anyio.to_thread
from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer

from chatbot.api.caller import Caller
from chatbot.api.limits.admission import admission_of
from chatbot.api.services import Services, services_of
from chatbot.api.sessions import COOKIE
from chatbot.keys import check_key
from shoptalk import owners
from shoptalk.clock import MACHINE
from shoptalk.domain import Scope
from shoptalk.errors import ConfigurationError, Forbidden, Unauthenticated
from shoptalk.store.chat import keys

CONSOLE_COOKIE = "shoptalk_console"
CONSOLE_S = 12 * 3600  # then one signs in again
WEB_KEY = owners.WEB
WEB_SCOPES = frozenset({Scope.CHAT, Scope.FEEDBACK})
bearer = HTTPBearer(auto_error=False, description="An API key with the scope the route needs.")


def require(scope: Scope) -> Any:
    """Return a dependency that passes callers with `scope` to the route; the OpenAPI schema names the scope."""
    return Security(_checker(scope), scopes=[scope.value])


def _checker(scope: Scope) -> Callable[..., Any]:
    async def check(request: Request, _: Annotated[object, Depends(bearer)]) -> Caller:
        for caller in await identify(request):
            if caller.allows(scope):
                await _admit(request, caller)
                return caller
        raise Forbidden(f"This API key does not have the scope '{scope.value}' that this route needs.")

    return check


async def key_holder(request: Request) -> Caller:
    """Return the holder of an API key with any scope, by the key or the console's session; a dependency.

    Raises Unauthenticated for anyone else, visitors of the chat page too.
    """
    for caller in await identify(request):
        if caller.lane == "keys":
            await _admit(request, caller)
            return caller
    raise Unauthenticated


async def _admit(request: Request, caller: Caller) -> None:
    """Count a request against the limits of its API key; visitors were counted before."""
    if caller.lane == "keys":
        limits = services_of(request).limits
        await limits.admit_key(admission_of(request), caller.key_id, caller.limits)


async def identify(request: Request) -> list[Caller]:
    """Return the API key's holder, else those named by the pages' cookies. Raises Unauthenticated where none is."""
    services = services_of(request)
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and secret:
        key = await anyio.to_thread.run_sync(check_key, services.store, secret.strip())
        return [Caller(key.id, key.scopes, key.owner, limits=key.limits)]
    cookies = [c for name in (COOKIE, CONSOLE_COOKIE) if (c := request.cookies.get(name)) and same_origin(request)]
    callers = [await anyio.to_thread.run_sync(_session, services, cookie) for cookie in cookies]
    found = [caller for caller in callers if caller is not None]
    if not found:
        raise Unauthenticated
    return found


def visitor_session(services: Services) -> str:
    """Return a cookie for a new visitor of the chat page."""
    return services.secrets.encrypt({"visitor": std_secrets.token_hex(16)}).decode()


def console_session(services: Services, key_id: str) -> str:
    """Return a cookie for someone who signed in to the console with a key."""
    return services.secrets.encrypt({"key": key_id, "until": MACHINE.unix() + CONSOLE_S}).decode()


def known_visitor(services: Services, cookie: str | None) -> bool:
    """Return whether this is a valid visitor's cookie."""
    caller = _session(services, cookie) if cookie else None
    return caller is not None and caller.customer is not None


def signed_in(services: Services, cookie: str | None) -> Caller | None:
    """Return who a console cookie names; None where it is not valid, has expired, or its key was revoked."""
    caller = _session(services, cookie) if cookie else None
    return caller if caller is not None and caller.customer is None else None


def _session(services: Services, cookie: str) -> Caller | None:
    try:
        session = services.secrets.decrypt(cookie.encode())
    except ConfigurationError:
        return None
    if "visitor" in session:
        if not services.settings.web_chat:
            return None
        who = session["visitor"]
        return Caller(WEB_KEY, WEB_SCOPES, owners.visitor(services.secrets.customer(who)), who)
    if session.get("until", 0) < MACHINE.unix():
        return None
    with services.store.read() as conn:
        key = keys.find(conn, str(session.get("key")))
    return Caller(key.id, key.scopes, key.owner, limits=key.limits) if key else None


def same_origin(request: Request) -> bool:
    """Return whether a request may use a cookie: it changes nothing, or it comes from one of our own pages."""
    if request.method in ("GET", "HEAD"):
        return True
    origin = request.headers.get("origin")
    return origin is not None and origin.partition("://")[2] == request.headers.get("host")
