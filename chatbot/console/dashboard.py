"""GET /console and its moves: what the loop has done, and promote, abort and roll back for those who may.

Asks `overview` what to show and `Releases` to move; a move is confirmed on a page of its own (or, with scripts,
in a dialog), sent as a form from our own pages, and needs the scope 'release'.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio.to_thread
from fastapi import APIRouter, Request
from fastapi.responses import Response

from chatbot.api.auth import Caller
from chatbot.api.schemas import StoredId
from chatbot.api.services import Services, services_of
from chatbot.console.overview import read_overview
from chatbot.console.render import page
from chatbot.console.sign_in import form, reader, redirect
from shoptalk.domain import Release, Scope
from shoptalk.errors import Conflict, Forbidden, NotFound, Unauthenticated
from shoptalk.store.chat import releases

router = APIRouter()
LONGEST_REASON = 400


@dataclass(frozen=True, slots=True)
class Move:
    """How a move is asked for and reported."""

    label: str
    question: str
    effect: str
    done: str
    danger: bool


MOVES = {
    "rollback": Move(
        "Roll back",
        "Roll back {adapter}?",
        "'{alias}' goes back to {previous}. Replies being written keep the adapter they began with.",
        "Rolled back. Each API process follows within a second.",
        True,
    ),
    "promote": Move(
        "Promote",
        "Promote {adapter}?",
        "'{alias}' will serve {adapter} to all customers instead of {previous}.",
        "Promoted. Each API process follows within a second.",
        False,
    ),
    "abort": Move(
        "Abort",
        "Abort the release of {adapter}?",
        "{adapter} will not go live by this release. '{alias}' goes on as it is.",
        "Aborted. Nothing else changed.",
        True,
    ),
}


@router.get("/console", response_model=None)
async def console(request: Request, moved: str | None = None) -> Response:
    """The whole page; it refreshes itself where scripts run."""
    caller = await reader(request)
    if caller is None:
        return redirect("/console/login")
    notice = MOVES[moved].done if moved in MOVES else None
    return await _page(request, caller, "console.html", notice=notice, problem=None)


@router.get("/console/live", response_model=None)
async def live(request: Request) -> Response:
    """The changing part of the page."""
    caller = await reader(request)
    if caller is None:
        raise Unauthenticated("Sign in at /console/login.")
    return await _page(request, caller, "live.html")


@router.get("/console/releases/{release_id}/{move}", response_model=None)
async def confirm(request: Request, release_id: StoredId, move: str) -> Response:
    """Ask before moving."""
    caller = await reader(request)
    if caller is None:
        return redirect("/console/login")
    chosen = _chosen(move, caller)
    release = await anyio.to_thread.run_sync(_find, services_of(request), release_id)
    return page("confirm.html", release=release, name=move, move=chosen, longest=LONGEST_REASON)


@router.post("/console/releases/{release_id}/{move}", response_model=None)
async def act(request: Request, release_id: StoredId, move: str) -> Response:
    """Move the release; the console then says what happened."""
    sent = await form(request)
    caller = await reader(request)
    if caller is None:
        return redirect("/console/login")
    _chosen(move, caller)
    services = services_of(request)
    acts = {
        "rollback": services.releases.rollback,
        "promote": services.releases.promote,
        "abort": services.releases.abort,
    }
    reason = sent.get("reason", "").replace("\0", "").strip()[:LONGEST_REASON]
    try:
        await anyio.to_thread.run_sync(partial(acts[move], release_id, caller.key_id, reason))
    except (Conflict, NotFound) as error:
        status = 404 if isinstance(error, NotFound) else 409
        return await _page(request, caller, "console.html", status, notice=None, problem=error.message)
    services.reconciler.poke()
    return redirect(f"/console?moved={move}")


async def _page(request: Request, caller: Caller, template: str, status: int = 200, **values: Any) -> Response:
    services = services_of(request)
    return await anyio.to_thread.run_sync(partial(_render, services, caller, template, status, values))


def _render(services: Services, caller: Caller, template: str, status: int, values: dict[str, Any]) -> Response:
    overview = read_overview(services.store, services.settings)
    return page(
        template,
        status,
        o=overview,
        settings=services.settings,
        may_release=caller.allows(Scope.RELEASE),
        moves=MOVES,
        longest=LONGEST_REASON,
        **values,
    )


def _chosen(move: str, caller: Caller) -> Move:
    if move not in MOVES:
        raise NotFound("There is no such move.")
    if not caller.allows(Scope.RELEASE):
        raise Forbidden("The key you signed in with does not have the scope 'release'.")
    return MOVES[move]


def _find(services: Services, release_id: str) -> Release:
    with services.store.read() as conn:
        release = releases.find(conn, release_id)
    if release is None:
        raise NotFound(f"There is no release {release_id[:80]}.")
    return release
