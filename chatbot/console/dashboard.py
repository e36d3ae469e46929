"""The console at /console: the state of the learning loop, and the moves of releases and rounds.

`overview` reads what is shown, `ReleaseMoves` and `RoundControl` make a move. A move is confirmed on a page of its own
(or, with scripts, in a dialog), sent as a form from our own pages, and needs the scope 'release'.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from urllib.parse import quote

import anyio.to_thread
from fastapi import APIRouter, Request
from fastapi.responses import Response

from chatbot.api.caller import Caller
from chatbot.api.schemas import StoredId
from chatbot.api.services import Services, ServicesDep
from chatbot.console.overview import read_overview
from chatbot.console.render import page
from chatbot.console.sign_in import form, reader, redirect
from shoptalk.domain import Release, Scope
from shoptalk.errors import Conflict, Forbidden, NotFound, Unauthenticated
from shoptalk.moves import RELEASE, RELEASE_MOVES_BY_HAND
from shoptalk.rounds.control import RoundControl
from shoptalk.store.chat import releases
from shoptalk.store.rounds import Round

router = APIRouter()
LONGEST_REASON = 400


@dataclass(frozen=True, slots=True)
class MoveWording:
    """The words in which a move is offered, confirmed and reported."""

    label: str
    question: str
    effect: str
    done: str
    danger: bool


@dataclass(frozen=True, slots=True)
class Offer:
    """A move of one thing, as a form offers it."""

    #: where the form is sent
    path: str
    label: str
    question: str
    effect: str
    danger: bool
    #: the thing's name, for those who hear the page
    what: str
    #: whether a reason may be given
    reason: bool


MOVES: Final[Mapping[str, MoveWording]] = {
    "rollback": MoveWording(
        "Roll back",
        "Roll back {adapter}?",
        "'{alias}' goes back to {previous}. Replies being written keep the adapter they began with.",
        "Rolled back. Each API process follows within a second.",
        True,
    ),
    "promote": MoveWording(
        "Promote",
        "Promote {adapter}?",
        "'{alias}' will serve {adapter} to all customers instead of {previous}.",
        "Promoted. Each API process follows within a second.",
        False,
    ),
    "abort": MoveWording(
        "Abort",
        "Abort the release of {adapter}?",
        "{adapter} will not go live by this release. '{alias}' goes on as it is.",
        "Aborted. Nothing else changed.",
        True,
    ),
}
ROUND_MOVES: Final[Mapping[str, MoveWording]] = {
    "learn-now": MoveWording(
        "Learn now",
        "Learn from the labels that are there?",
        "The round waits for no more labels of its replies.",
        "The round goes on within a minute.",
        False,
    ),
    "cancel": MoveWording(
        "Cancel the round",
        "Cancel this round?",
        "Nothing that it made is served. Its labels stay for the next round.",
        "Cancelled. A step in progress ends soon.",
        True,
    ),
}


@router.get("/console", response_model=None)
async def console(request: Request, services: ServicesDep, moved: str | None = None) -> Response:
    """Show the whole page; it refreshes itself where scripts run."""
    caller = await reader(request)
    if caller is None:
        return redirect("/console/login")
    words = {**MOVES, **ROUND_MOVES}
    notice = words[moved].done if moved and moved in words else None
    return await _page(services, caller, "console.html", notice=notice, problem=None)


@router.get("/console/live", response_model=None)
async def live(request: Request, services: ServicesDep) -> Response:
    """Return the part of the page that changes."""
    caller = await reader(request)
    if caller is None:
        raise Unauthenticated("Sign in at /console/login.")
    return await _page(services, caller, "live.html")


@router.get("/console/releases/{release_id}/{move}", response_model=None)
async def confirm(request: Request, services: ServicesDep, release_id: StoredId, move: str) -> Response:
    """Ask for confirmation of a move."""
    caller = await reader(request)
    if caller is None:
        return redirect("/console/login")
    _may(move, MOVES, caller)
    release = await anyio.to_thread.run_sync(_find, services, release_id)
    return page("confirm.html", offer=_offer(release, move), longest=LONGEST_REASON)


@router.post("/console/releases/{release_id}/{move}", response_model=None)
async def act(request: Request, services: ServicesDep, release_id: StoredId, move: str) -> Response:
    """Move the release; the console then reports the outcome."""
    sent = await form(request)
    caller = await reader(request)
    if caller is None:
        return redirect("/console/login")
    _may(move, MOVES, caller)
    reason = sent.get("reason", "").replace("\0", "").strip()[:LONGEST_REASON]
    try:
        await anyio.to_thread.run_sync(partial(services.releases.by_hand, move, release_id, caller.key_id, reason))
    except (Conflict, NotFound) as error:
        status = 404 if isinstance(error, NotFound) else 409
        return await _page(services, caller, "console.html", status, notice=None, problem=error.message)
    services.follower.poke()
    return redirect(f"/console?moved={move}")


@router.get("/console/rounds/{round_id}/{move}", response_model=None)
async def confirm_round(request: Request, round_id: StoredId, move: str) -> Response:
    """Ask for confirmation of a round's move."""
    caller = await reader(request)
    if caller is None:
        return redirect("/console/login")
    _may(move, ROUND_MOVES, caller)
    return page("confirm.html", offer=_round_offer(round_id, move), longest=LONGEST_REASON)


@router.post("/console/rounds/{round_id}/{move}", response_model=None)
async def act_on_round(request: Request, services: ServicesDep, round_id: StoredId, move: str) -> Response:
    """Cancel the round or let it learn; the console then reports the outcome."""
    await form(request)
    caller = await reader(request)
    if caller is None:
        return redirect("/console/login")
    _may(move, ROUND_MOVES, caller)
    try:
        await anyio.to_thread.run_sync(partial(RoundControl(services.store).move, move, round_id, caller.key_id))
    except (Conflict, NotFound) as error:
        status = 404 if isinstance(error, NotFound) else 409
        return await _page(services, caller, "console.html", status, notice=None, problem=error.message)
    return redirect(f"/console?moved={move}")


async def _page(services: Services, caller: Caller, template: str, status: int = 200, **values: Any) -> Response:
    return await anyio.to_thread.run_sync(partial(_render, services, caller, template, status, values))


def _render(services: Services, caller: Caller, template: str, status: int, values: dict[str, Any]) -> Response:
    overview = read_overview(services.store, services.settings)
    return page(
        template,
        status,
        o=overview,
        settings=services.settings,
        may_release=caller.allows(Scope.RELEASE),
        offers_of=offers_of,
        round_offers=round_offers,
        longest=LONGEST_REASON,
        **values,
    )


def offers_of(release: Release) -> list[Offer]:
    """Return the moves that a person may make of a release in its state."""
    return [_offer(release, move) for move in RELEASE_MOVES_BY_HAND if RELEASE.allows(move, release.state)]


def round_offers(item: Round) -> list[Offer]:
    """Return the moves that a person may make of a round in its state."""
    learns = item.awaits_labels and not item.learn_now
    return [_round_offer(item.id, move) for move in ROUND_MOVES if move != "learn-now" or learns]


def _offer(release: Release, move: str) -> Offer:
    words = MOVES[move]
    names = {"adapter": release.adapter, "alias": release.alias, "previous": release.previous}
    path = f"/console/releases/{quote(release.id, safe='')}/{move}"
    question, effect = words.question.format(**names), words.effect.format(**names)
    return Offer(path, words.label, question, effect, words.danger, release.adapter, reason=True)


def _round_offer(round_id: str, move: str) -> Offer:
    words, path = ROUND_MOVES[move], f"/console/rounds/{quote(round_id, safe='')}/{move}"
    return Offer(path, words.label, words.question, words.effect, words.danger, "of the open round", reason=False)


def _may(move: str, known: Mapping[str, MoveWording], caller: Caller) -> None:
    """Raise NotFound where there is no such move, Forbidden where this caller may not make it."""
    if move not in known:
        raise NotFound("There is no such move.")
    if not caller.allows(Scope.RELEASE):
        raise Forbidden("The key you signed in with does not have the scope 'release'.")


def _find(services: Services, release_id: str) -> Release:
    with services.store.read() as conn:
        release = releases.find(conn, release_id)
    if release is None:
        raise NotFound(f"There is no release {release_id[:80]}.")
    return release
