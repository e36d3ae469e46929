"""Releases: opens them and makes their moves. Changes rows only; API processes follow by themselves (`follower`).

Which move a state allows is in `shoptalk.moves.RELEASE`. Each move is one transaction with its event, so what is
desired and why can never disagree.
"""

from __future__ import annotations

import dataclasses

import sqlalchemy as sa

from shoptalk.domain import BASE_VERSION, AdapterRef, Release, ReleaseState, Verdict, new_id
from shoptalk.errors import IllegalMove, InvalidInput, NotFound
from shoptalk.models.registry import Registry
from shoptalk.moves import RELEASE, RELEASE_MOVES_BY_HAND
from shoptalk.store import Store, adapters
from shoptalk.store.chat import releases
from shoptalk.store.training import evaluations


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
            _check_not_rejected(conn, adapter)
            _check_not_marked(conn, ref)
            current = releases.desired_of(conn, alias)
            serving = current.adapter if current else str(AdapterRef(alias, BASE_VERSION))
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
        """Make the adapter the one its alias serves; the former stays resident."""
        with self._store.write() as conn:
            releases.alone(conn)
            release = _found(conn, release_id)
            RELEASE.after("promote", release.state, release_id)  # raises before the former one is superseded
            _check_not_rejected(conn, release.adapter)  # the gate may have judged since the release was opened
            _check_not_marked(conn, AdapterRef.parse(release.adapter))
            if former := releases.live(conn, release.alias):
                self._move(conn, former, "supersede", actor, release.adapter)
            current = releases.desired_of(conn, release.alias)  # may have moved since the release was opened
            previous = current.adapter if current else release.previous
            promoted = self._move(conn, dataclasses.replace(release, previous=previous), "promote", actor, reason)
            releases.set_desired(conn, release.alias, release.adapter, previous)
        return promoted

    def abort(self, release_id: str, actor: str, reason: str = "") -> Release:
        """End an undecided release; nothing else changes."""
        with self._store.write() as conn:
            releases.alone(conn)
            return self._move(conn, _found(conn, release_id), "abort", actor, reason)

    def rollback(self, release_id: str, actor: str, reason: str = "") -> Release:
        """Put back what the alias served before this live release, or the latest before that that may be served."""
        with self._store.write() as conn:
            releases.alone(conn)
            release = _found(conn, release_id)
            RELEASE.after("rollback", release.state, release_id)
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
        """Roll back the release by which an alias serves what it serves."""
        with self._store.read() as conn:
            current = releases.live(conn, alias)
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
                if row.adapter == adapter:
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
