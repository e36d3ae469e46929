"""The release state machine: start, promote, abort, roll back. Changes rows only; APIs follow by themselves.

Every move is one transaction with its event, so what is desired and why can never disagree.
"""

from __future__ import annotations

import dataclasses

import sqlalchemy as sa

from shoptalk.domain import BASE_VERSION, AdapterRef, Release, ReleaseState, Verdict, new_id
from shoptalk.errors import IllegalMove, InvalidInput, NotFound
from shoptalk.models.registry import Registry
from shoptalk.store import Store, adapters
from shoptalk.store.chat import releases
from shoptalk.store.training import evaluations

UNDECIDED = (ReleaseState.PENDING, ReleaseState.SHADOW, ReleaseState.CANARY)


class Releases:
    """Moves releases. `actor` is who asked: an API key's id, 'cli' or 'round:<id>'."""

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
            if any(r.state in UNDECIDED for r in releases.newest(conn, alias=alias)):
                raise IllegalMove(f"alias '{alias}' has an undecided release; promote or abort it first")
            _not_rejected(conn, adapter)
            _not_marked(conn, ref)
            current = releases.desired_of(conn, alias)
            serving = current.adapter if current else str(AdapterRef(alias, BASE_VERSION))
            if serving == adapter:
                raise IllegalMove(f"alias '{alias}' already serves {adapter}")
            release = Release(
                id=new_id("rel"),
                alias=alias,
                adapter=adapter,
                previous=serving,
                state=ReleaseState.PENDING,
                evaluation_id=evaluation_id,
                actor=actor,
                created_at=self._store.now(),
                updated_at=self._store.now(),
            )
            releases.put(conn, release)
            releases.add_event(conn, release.id, "start", release.state, actor, f"{adapter} to follow {serving}")
        return release

    def promote(self, release_id: str, actor: str, reason: str = "") -> Release:
        """Make the adapter the one its alias serves; the former stays resident."""
        with self._store.write() as conn:
            releases.alone(conn)
            release = self._undecided(conn, release_id, "promote")
            _not_rejected(conn, release.adapter)  # the gate may have judged since the release was opened
            _not_marked(conn, AdapterRef.parse(release.adapter))
            if former := releases.live(conn, release.alias):
                releases.put(conn, self._moved(former, ReleaseState.SUPERSEDED))
                releases.add_event(conn, former.id, "supersede", ReleaseState.SUPERSEDED, actor, release.adapter)
            current = releases.desired_of(conn, release.alias)  # may have moved since the release was opened
            previous = current.adapter if current else release.previous
            promoted = dataclasses.replace(self._moved(release, ReleaseState.LIVE), previous=previous)
            releases.put(conn, promoted)
            releases.set_desired(conn, release.alias, release.adapter, previous)
            releases.add_event(conn, release.id, "promote", promoted.state, actor, reason)
        return promoted

    def abort(self, release_id: str, actor: str, reason: str = "") -> Release:
        """End an undecided release; nothing else changes."""
        with self._store.write() as conn:
            releases.alone(conn)
            aborted = self._moved(self._undecided(conn, release_id, "abort"), ReleaseState.ABORTED)
            releases.put(conn, aborted)
            releases.add_event(conn, release_id, "abort", aborted.state, actor, reason)
        return aborted

    def rollback(self, release_id: str, actor: str, reason: str = "") -> Release:
        """Put back what the alias served before this live release, or the latest before that that may be served."""
        with self._store.write() as conn:
            releases.alone(conn)
            release = _found(releases.find(conn, release_id), release_id)
            if release.state is not ReleaseState.LIVE:
                raise IllegalMove(f"release {release_id} is {release.state.value}; only a live one can be rolled back")
            if adapters.mark_of(conn, AdapterRef.parse(release.previous)):  # it may not be served any more
                others = releases.newest(conn, alias=release.alias)
                self._go_back(conn, release.alias, release.adapter, others, "rollback", actor, reason)
                return _found(releases.find(conn, release_id), release_id)
            back = self._moved(release, ReleaseState.ROLLED_BACK)
            releases.put(conn, back)
            releases.set_desired(conn, release.alias, release.previous, release.adapter)
            releases.add_event(conn, release_id, "rollback", back.state, actor, reason or f"back to {release.previous}")
            for former in releases.newest(conn, alias=release.alias):
                if former.adapter == release.previous and former.state is ReleaseState.SUPERSEDED:
                    releases.put(conn, self._moved(former, ReleaseState.LIVE))
                    releases.add_event(conn, former.id, "restore", ReleaseState.LIVE, actor, f"after {release.adapter}")
                    break
        return back

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
                    if release.adapter == adapter and release.state in UNDECIDED:
                        releases.put(conn, self._moved(release, ReleaseState.ABORTED))
                        releases.add_event(conn, release.id, "abort", ReleaseState.ABORTED, actor, reason)
                if row.adapter == adapter:
                    self._go_back(conn, row.alias, adapter, former, "withdraw", actor, reason)
                elif row.previous == adapter:
                    releases.set_desired(conn, row.alias, row.adapter, None)

    def _go_back(
        self, conn: sa.Connection, alias: str, adapter: str, former: list[Release], move: str, actor: str, reason: str
    ) -> None:
        """To the latest superseded release whose adapter may be served, else to the base model."""
        live = releases.live(conn, alias)
        if live is not None:
            releases.put(conn, self._moved(live, ReleaseState.ROLLED_BACK))
            releases.add_event(conn, live.id, move, ReleaseState.ROLLED_BACK, actor, reason)
        marked = {str(mark.ref) for mark in adapters.all_marks(conn)} | {adapter}
        fit = [r for r in former if r.state is ReleaseState.SUPERSEDED and r.adapter not in marked]
        target = max(fit, key=lambda release: release.updated_at, default=None)
        if target is not None:
            releases.put(conn, self._moved(target, ReleaseState.LIVE))
            releases.add_event(conn, target.id, "restore", ReleaseState.LIVE, actor, f"after {adapter}")
        releases.set_desired(conn, alias, target.adapter if target else str(AdapterRef(alias, BASE_VERSION)), None)

    def rollback_alias(self, alias: str, actor: str, reason: str = "") -> Release:
        """Roll back whatever release the alias serves by."""
        with self._store.read() as conn:
            current = releases.live(conn, alias)
        if current is None:
            raise IllegalMove(f"alias '{alias}' serves the base model; there is nothing to roll back")
        return self.rollback(current.id, actor, reason)

    def _undecided(self, conn: sa.Connection, release_id: str, move: str) -> Release:
        release = _found(releases.find(conn, release_id), release_id)
        if release.state not in UNDECIDED:
            raise IllegalMove(f"cannot {move} release {release_id}: it is {release.state.value}")
        return release

    def _moved(self, release: Release, state: ReleaseState) -> Release:
        return dataclasses.replace(release, state=state, updated_at=self._store.now())


def _found(release: Release | None, release_id: str) -> Release:
    if release is None:
        raise NotFound(f"there is no release {release_id[:80]}")
    return release


def _not_marked(conn: sa.Connection, ref: AdapterRef) -> None:
    mark = adapters.mark_of(conn, ref)
    if mark is not None:
        raise IllegalMove(f"{ref} was trained on what {mark.erasure_id} erased; it is not served any more")


def _not_rejected(conn: sa.Connection, adapter: str) -> None:
    judged = evaluations.newest_of(conn, adapter)
    if judged is not None and judged.verdict is Verdict.REJECT:
        raise IllegalMove(f"{adapter} was rejected by the gate: {'; '.join(judged.reasons)}")
