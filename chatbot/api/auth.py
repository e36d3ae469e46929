"""Who is calling: an API key in the Authorization header, or a page's session cookie.

A session cookie is sealed (encrypted and authenticated) by the server, HttpOnly and SameSite=Strict; requests
that change something must come from our own pages (Origin checked), so other sites cannot ride on it.
"""

from __future__ import annotations

import secrets as std_secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import anyio.to_thread
from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from chatbot.api.limits.admission import admission_of
from chatbot.api.services import Services, services_of
from chatbot.api.sessions import COOKIE
from chatbot.engine.protocol import Lane
from chatbot.keys import check_key
from shoptalk import owners
from shoptalk.clock import MACHINE
from shoptalk.domain import NO_LIMITS, KeyLimits, Scope
from shoptalk.errors import ConfigurationError, Forbidden, Unauthenticated
from shoptalk.store.chat import keys

CONSOLE_COOKIE = "shoptalk_console"
CONSOLE_S = 12 * 3600  # then one signs in again
WEB_KEY = owners.WEB
WEB_SCOPES = frozenset({Scope.CHAT, Scope.FEEDBACK})
bearer = HTTPBearer(auto_error=False, description="An API key with the scope the route needs.")


@dataclass(frozen=True, slots=True)
class Caller:
    """`owner` owns what the caller opens (see `shoptalk.owners`); `customer` is set for the chat page's visitors."""

    key_id: str
    scopes: frozenset[Scope]
    owner: str
    customer: str | None = None
    limits: KeyLimits = NO_LIMITS

    @property
    def lane(self) -> Lane:
        """Visitors have a part of what there is; see `chatbot.engine.protocol.GenerationRequest`."""
        return "keys" if self.customer is None else "visitors"

    @property
    def idempotency(self) -> str:
        """Whose Idempotency-Keys theirs are: they stay valid when a key takes another's place."""
        return f"{self.owner}\0" if self.customer is None else f"{WEB_KEY}\0{self.customer}"

    def allows(self, scope: Scope) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes


def require(scope: Scope) -> Callable[..., Any]:
    """A dependency that lets callers with `scope` through and names them."""

    async def check(request: Request, _: Annotated[object, Depends(bearer)]) -> Caller:
        callers = await identify(request)
        for caller in callers:
            if caller.allows(scope):
                if caller.lane == "keys":
                    limits = services_of(request).limits
                    await limits.admit_key(admission_of(request), caller.key_id, caller.limits)
                return caller
        raise Forbidden(f"This API key does not have the scope '{scope.value}' that this route needs.")

    return check


async def identify(request: Request) -> list[Caller]:
    """The key's holder, else whom the pages' cookies name; raises Unauthenticated where there is none."""
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
    """A cookie for a new visitor of the chat page."""
    return services.secrets.encrypt({"visitor": std_secrets.token_hex(16)}).decode()


def console_session(services: Services, key_id: str) -> str:
    """A cookie for someone who signed in to the console with a key."""
    return services.secrets.encrypt({"key": key_id, "until": MACHINE.unix() + CONSOLE_S}).decode()


def known_visitor(services: Services, cookie: str | None) -> bool:
    """Is this a visitor's cookie of ours?"""
    caller = _session(services, cookie) if cookie else None
    return caller is not None and caller.customer is not None


def signed_in(services: Services, cookie: str | None) -> Caller | None:
    """Whom a console cookie names; None where it is not valid, has run out, or its key was revoked."""
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
    """Does a request that may change something come from one of our own pages?"""
    if request.method in ("GET", "HEAD"):
        return True
    origin = request.headers.get("origin")
    return origin is not None and origin.partition("://")[2] == request.headers.get("host")
