"""Releases: opens them and makes their moves. Changes rows only; API processes follow by themselves (`follower`).

A promoted release rolls out until every API process that is alive serves it, then it is live; where one refuses its
adapter it fails, and the former one is served again. Without an API process nobody refuses it.

Which move a state allows is in `shoptalk.moves.RELEASE`. Each move is one transaction with its event, so what is
desired and why can never disagree.
"""

from __future__ import annotations

import dataclasses
from typing import Final

import sqlalchemy as sa

from shoptalk.domain import BASE_VERSION, AdapterRef, Release, ReleaseState, Verdict, new_id
from shoptalk.errors import IllegalMove, InvalidInput, NotFound
from shoptalk.models.registry import Registry
from shoptalk.moves import RELEASE, RELEASE_MOVES_BY_HAND
from shoptalk.store import Store, adapters
from shoptalk.store.chat import releases
from shoptalk.store.training import evaluations

FOLLOWERS: Final = "api"  # who ends a roll-out


class ReleaseMoves:
    """Opens and moves releases. `actor` is who asked: an API key's id, 'cli' or 'round:<id>'."""

    def __init__(self, store: Store, registry: Registry) -> None:
        self._store, self._registry = store, registry

    def start(self, alias: str, adapter: str, actor: str, *, evaluation_id: str | None = None) -> Release:
        """Open a release. Raises NotFound (no such adapter), IllegalMove (rejected by the gate, or in service)."""
        try:
            ref = AdapterRef.parse(adapter)
        except ValueError as error:
            raise InvalidInput(str(error), field="adapter") from None
        adapter = str(ref)
        if not ref.is_base:
            self._registry.find(ref)
        with self._store.write() as conn:
            releases.alone(conn)
            if any(_undecided(r) for r in releases.newest(conn, alias=alias)):
                raise IllegalMove(f"alias '{alias}' has an undecided release", fix="promote or abort it first")
            _check_alone(conn, alias)
            _check_not_rejected(conn, adapter)
            _check_not_marked(conn, ref)
            current = releases.desired_of(conn, alias)
            serving = current.adapter if current else str(AdapterRef(alias, BASE_VERSION))
            if evaluation_id is not None:
                _check_judged(conn, evaluation_id, adapter, releases.compared_with(conn, alias))
            if serving == adapter:
                raise IllegalMove(f"alias '{alias}' already serves {adapter}")
            release = Release(
                id=new_id("rel"),
                alias=alias,
                adapter=adapter,
                previous=serving,
                state=RELEASE.initial,
                evaluation_id=evaluation_id,
                actor=actor,
                created_at=self._store.now(),
                updated_at=self._store.now(),
            )
            releases.put(conn, release)
            releases.add_event(conn, release.id, "start", release.state, actor, f"{adapter} to follow {serving}")
        return release

    def by_hand(self, move: str, release_id: str, actor: str, reason: str = "") -> Release:
        """Make one of the moves that a person may make. Raises InvalidInput for another name, NotFound, IllegalMove."""
        if move not in RELEASE_MOVES_BY_HAND:
            *most, last = RELEASE_MOVES_BY_HAND
            raise InvalidInput(f"'{move[:40]}' is no move", field="move", fix=f"use {', '.join(most)} or {last}")
        moves = {"promote": self.promote, "abort": self.abort, "rollback": self.rollback}
        return moves[move](release_id, actor, reason)

    def promote(self, release_id: str, actor: str, reason: str = "") -> Release:
        """Roll the adapter out; the former stays resident. Where no API process is alive, it is live at once."""
        with self._store.write() as conn:
            releases.alone(conn)
            release = _found(conn, release_id)
            RELEASE.after("promote", release.state, release_id)  # raises before anything else is looked at
            _check_alone(conn, release.alias)
            _check_not_rejected(conn, release.adapter)  # the gate may have judged since the release was opened
            _check_not_marked(conn, AdapterRef.parse(release.adapter))
            current = releases.desired_of(conn, release.alias)  # may have moved since the release was opened
            previous = current.adapter if current else release.previous
            promoted = self._move(conn, dataclasses.replace(release, previous=previous), "promote", actor, reason)
            releases.set_desired(conn, release.alias, release.adapter, previous)
            return self._settle(conn, promoted) or promoted

    def settle(self) -> None:
        """End each roll-out that every API process serves, or that one refuses. Writes only where there is one."""
        with self._store.read() as conn:
            due = [release.id for release in releases.rolling_out(conn) if _outcome(conn, release)]
        for release_id in due:
            with self._store.write() as conn:
                releases.alone(conn)
                release = releases.find(conn, release_id)
                if release is not None and release.state is ReleaseState.ROLLING_OUT:
                    self._settle(conn, release)

    def settled(self, release_id: str, timeout_s: float) -> Release:
        """Return a release when it no longer rolls out, or as it is after `timeout_s` seconds. Raises NotFound."""
        machine = self._store.clock.machine
        deadline = machine.monotonic() + timeout_s
        while True:
            self.settle()
            with self._store.read() as conn:
                release = _found(conn, release_id)
            if release.state is not ReleaseState.ROLLING_OUT or machine.monotonic() >= deadline:
                return release
            machine.sleep(0.05)

    def _settle(self, conn: sa.Connection, release: Release) -> Release | None:
        """Make the move that ends a roll-out where it is due; return the release after it, else None."""
        outcome = _outcome(conn, release)
        if outcome is None:
            return None
        move, reason = outcome
        if move == "fail":
            failed = self._move(conn, release, move, FOLLOWERS, reason)
            self._put_back(conn, release, FOLLOWERS)
            return failed
        if former := releases.live(conn, release.alias):
            self._move(conn, former, "supersede", FOLLOWERS, release.adapter)
        return self._move(conn, release, move, FOLLOWERS, reason)

    def _put_back(self, conn: sa.Connection, release: Release, actor: str) -> None:
        """Serve what was served before a roll-out that ended, also where it may only serve until it is replaced.

        Where it was withdrawn meanwhile, what was served before that.
        """
        mark = adapters.mark_of(conn, AdapterRef.parse(release.previous))
        if mark is not None and mark.withdrawn_at is not None:
            self._go_back(
                conn, release.alias, release.adapter, releases.newest(conn, alias=release.alias), "withdraw", actor, ""
            )
        else:
            releases.set_desired(conn, release.alias, release.previous, None)

    def abort(self, release_id: str, actor: str, reason: str = "") -> Release:
        """End an undecided release; nothing else changes."""
        with self._store.write() as conn:
            releases.alone(conn)
            return self._move(conn, _found(conn, release_id), "abort", actor, reason)

    def rollback(self, release_id: str, actor: str, reason: str = "") -> Release:
        """Put back what the alias served before this release, or the latest before that that may be served."""
        with self._store.write() as conn:
            releases.alone(conn)
            release = _found(conn, release_id)
            RELEASE.after("rollback", release.state, release_id)
            if release.state is ReleaseState.ROLLING_OUT:
                back = self._move(conn, release, "rollback", actor, reason or f"back to {release.previous}")
                self._put_back(conn, release, actor)
                return back
            if adapters.mark_of(conn, AdapterRef.parse(release.previous)):  # it may not be served any more
                others = releases.newest(conn, alias=release.alias)
                self._go_back(conn, release.alias, release.adapter, others, "rollback", actor, reason)
                return _found(conn, release_id)
            back = self._move(conn, release, "rollback", actor, reason or f"back to {release.previous}")
            releases.set_desired(conn, release.alias, release.previous, release.adapter)
            for former in releases.newest(conn, alias=release.alias):
                if former.adapter == release.previous and RELEASE.allows("restore", former.state):
                    self._move(conn, former, "restore", actor, f"after {release.adapter}")
                    break
        return back

    def rollback_alias(self, alias: str, actor: str, reason: str = "") -> Release:
        """Roll back the release by which an alias serves what it serves, or one that rolls out."""
        with self._store.read() as conn:
            current = next(iter(releases.rolling_out(conn, alias)), None) or releases.live(conn, alias)
        if current is None:
            raise IllegalMove(f"alias '{alias}' serves the base model; there is nothing to roll back")
        return self.rollback(current.id, actor, reason)

    def withdraw(self, ref: AdapterRef, actor: str, reason: str) -> None:
        """Take an adapter out of service wherever it is served or on trial, whatever came of it.

        The alias goes back to what it served before and may still serve, else to the base model.
        """
        adapter = str(ref)
        with self._store.write() as conn:
            releases.alone(conn)
            for row in releases.all_desired(conn):
                former = releases.newest(conn, alias=row.alias)
                for release in former:
                    if release.adapter == adapter and _undecided(release):
                        self._move(conn, release, "abort", actor, reason)
                rolling = next(iter(releases.rolling_out(conn, row.alias)), None)
                live = releases.live(conn, row.alias)
                if rolling is not None and rolling.adapter == adapter:
                    self._move(conn, rolling, "withdraw", actor, reason)
                    self._put_back(conn, rolling, actor)
                elif rolling is not None and live is not None and live.adapter == adapter:
                    self._move(conn, live, "withdraw", actor, reason)
                    releases.set_desired(conn, row.alias, row.adapter, None)
                elif row.adapter == adapter:
                    self._go_back(conn, row.alias, adapter, former, "withdraw", actor, reason)
                elif row.previous == adapter:
                    releases.set_desired(conn, row.alias, row.adapter, None)

    def _go_back(
        self, conn: sa.Connection, alias: str, adapter: str, former: list[Release], move: str, actor: str, reason: str
    ) -> None:
        """Serve the latest superseded release whose adapter may be served, else the base model."""
        live = releases.live(conn, alias)
        if live is not None:
            self._move(conn, live, move, actor, reason)
        fit = [
            release
            for release in former
            if RELEASE.allows("restore", release.state)
            and release.adapter != adapter
            and adapters.mark_of(conn, AdapterRef.parse(release.adapter)) is None
        ]
        target = max(fit, key=lambda release: release.updated_at, default=None)
        if target is not None:
            self._move(conn, target, "restore", actor, f"after {adapter}")
        releases.set_desired(conn, alias, target.adapter if target else str(AdapterRef(alias, BASE_VERSION)), None)

    def _move(self, conn: sa.Connection, release: Release, move: str, actor: str, reason: str) -> Release:
        """Write a release's state after a move, and the event. Raises IllegalMove where its state does not allow it."""
        state: ReleaseState = RELEASE.after(move, release.state, release.id)
        moved = dataclasses.replace(release, state=state, updated_at=self._store.now())
        releases.put(conn, moved)
        releases.add_event(conn, release.id, move, state, actor, reason)
        return moved


def _outcome(conn: sa.Connection, release: Release) -> tuple[str, str] | None:
    """Return the move that ends a roll-out, with its reason; None where some API process has not followed yet."""
    alive = releases.all_observed(conn)
    of_alias = [row for row in alive if row.alias == release.alias]
    for row in of_alias:
        if (row.problem or "").startswith((f"{release.adapter} ", f"{release.adapter}: ")):  # else it is about another
            return "fail", f"an API process refuses it: {row.problem}"
    serving = {row.process for row in of_alias if row.adapter == release.adapter}
    processes = {row.process for row in alive}
    if serving < processes:
        return None
    return "serve", f"served by {len(serving)} API processes" if serving else "no API process is running"


def _check_alone(conn: sa.Connection, alias: str) -> None:
    for other in releases.rolling_out(conn, alias):
        raise IllegalMove(
            f"release {other.id} of alias '{alias}' is rolling out", fix="wait until it is live, or roll it back first"
        )


def _check_judged(conn: sa.Connection, evaluation_id: str, adapter: str, wanted: str) -> None:
    """Raise IllegalMove unless the gate promoted this adapter in comparison with the `wanted` one."""
    judged = evaluations.find(conn, evaluation_id)
    if judged is None or judged.adapter != adapter or judged.verdict is not Verdict.PROMOTE:
        raise IllegalMove(f"evaluation {evaluation_id[:80]} is no promotion of {adapter}")
    if judged.against != wanted:
        raise IllegalMove(
            f"{adapter} was judged against {judged.against}, but {wanted} counts now", fix="evaluate it again"
        )


def _undecided(release: Release) -> bool:
    return RELEASE.allows("promote", release.state)


def _found(conn: sa.Connection, release_id: str) -> Release:
    release = releases.find(conn, release_id)
    if release is None:
        raise NotFound(f"there is no release {release_id[:80]}")
    return release


def _check_not_marked(conn: sa.Connection, ref: AdapterRef) -> None:
    mark = adapters.mark_of(conn, ref)
    if mark is not None:
        raise IllegalMove(f"{ref} was trained on what {mark.erasure_id} erased; it is not served any more")


def _check_not_rejected(conn: sa.Connection, adapter: str) -> None:
    judged = evaluations.newest_of(conn, adapter)
    if judged is not None and judged.verdict is Verdict.REJECT:
        raise IllegalMove(f"{adapter} was rejected by the gate: {'; '.join(judged.reasons)}")
