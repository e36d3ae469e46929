"""The release follower: makes one API process serve what is desired, and records what it serves.

What that means for a release that rolls out, `ReleaseMoves.settle` decides.

Desired and observed are rows, so a process that was away catches up. An adapter that cannot be loaded leaves the alias
where it is and its problem on record; it is tried again when another adapter is desired, or after a pause. Knows no
HTTP.
"""

from __future__ import annotations

import threading
from datetime import datetime

import structlog

from chatbot.engine.protocol import Engine
from chatbot.release.loader import Loader
from chatbot.release.moves import ReleaseMoves
from chatbot.router import Router
from shoptalk.domain import BASE_VERSION, AdapterRef
from shoptalk.errors import NoFreeSlot, ShoptalkError
from shoptalk.store import Store, adapters, erasures
from shoptalk.store.chat import releases

log = structlog.get_logger(__name__)
RETRY_S = 30.0
HEARTBEAT_S = 5.0


class ReleaseFollower:
    """A thread that follows the desired rows every `every_s` seconds, or at once after `poke`."""

    def __init__(
        self,
        store: Store,
        moves: ReleaseMoves,
        loader: Loader,
        engine: Engine,
        router: Router,
        process: str,
        every_s: float = 0.1,
    ) -> None:
        self._store, self._moves, self._loader, self._engine, self._router = store, moves, loader, engine, router
        self._process, self._every = process, every_s
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="release follower", daemon=True)
        self._failed: dict[tuple[str, str], tuple[float, str]] = {}
        self._waiting: dict[tuple[str, str], float] = {}  # for a free slot, since when
        self._held: set[AdapterRef] = set()  # former adapters that were loaded, or could not be
        self._reported: dict[str, tuple[str, str | None]] = {}
        self._reported_at = 0.0
        self._erased: datetime | None = None

    def start(self) -> None:
        """Follow once, so that the API serves the right adapter from its first request, then start the thread."""
        self.follow()
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and record that this process serves nothing any more."""
        self._stopping.set()
        self._wake.set()
        self._thread.join()
        with self._store.write() as conn:
            releases.forget_observed(conn, self._process)

    def poke(self) -> None:
        """Follow now rather than at the next interval."""
        self._wake.set()

    def follow(self) -> None:
        """Read what is desired, load and point once, and record what is served."""
        with self._store.read() as conn:
            wanted, rolling = releases.all_desired(conn), releases.rolling_out(conn)
            erased, gone = erasures.last_change(conn), adapters.withdrawn(conn, self._engine.resident())
        self._forget(erased)
        desired = {(row.alias, row.adapter) for row in wanted}
        self._failed = {what: failed for what, failed in self._failed.items() if what in desired}
        self._waiting = {what: since for what, since in self._waiting.items() if what in desired}
        problems = {row.alias: _about(row.adapter, self._serve(row.alias, row.adapter)) for row in wanted}
        formers = {AdapterRef.parse(row.previous) for row in wanted if row.previous}
        for former in formers - self._held:
            self._hold(former)
        self._held = formers
        served = set(self._router.aliases.values())
        for ref in gone - served:
            self._engine.unload(ref)  # or the next time, when the last reply in progress has ended
        self._report(problems)
        if rolling:
            self._moves.settle()

    def _forget(self, erased: datetime | None) -> None:
        """Empty the prefix caches after each step of an erasure: they may hold what it erased."""
        if erased != self._erased:
            self._engine.forget()
            self._erased = erased

    def _serve(self, alias: str, name: str) -> str | None:
        """Point the alias at the adapter, loading it first; return the problem if that fails."""
        ref = AdapterRef.parse(name)
        if self._router.aliases.get(alias) == ref:
            return None
        if (failed := self._failed.get((alias, name))) and self._store.clock.machine.monotonic() - failed[0] < RETRY_S:
            return failed[1]
        try:
            self._loader.ensure(ref)
        except NoFreeSlot as error:  # a reply in progress holds it; soon it will not
            since = self._waiting.setdefault((alias, name), self._store.clock.machine.monotonic())
            return error.message if self._store.clock.machine.monotonic() - since > RETRY_S else None
        except Exception as error:  # noqa: BLE001 - whatever it was, the other aliases must still be served
            problem = error.message if isinstance(error, ShoptalkError) else f"{type(error).__name__} while loading it"
            log.error("adapter not loaded", alias=alias, adapter=name, problem=problem)
            self._failed[alias, name] = (self._store.clock.machine.monotonic(), problem)
            return problem
        self._failed.pop((alias, name), None)
        self._waiting.pop((alias, name), None)
        before = self._router.aliases.get(alias)
        self._router.point(alias, ref)
        log.info("alias moved", alias=alias, adapter=name, before=str(before))
        return None

    def _hold(self, ref: AdapterRef) -> None:
        """Load the former adapter, so that a rollback takes no loading; not essential, so tried once."""
        try:
            self._loader.ensure_if_room(ref)
        except ShoptalkError as error:
            log.warning("former adapter not resident", adapter=str(ref), problem=error.message)

    def _report(self, problems: dict[str, str | None]) -> None:
        state = {alias: (str(ref), problems.get(alias)) for alias, ref in self._router.aliases.items()}
        unknown = {alias: str(AdapterRef(alias, BASE_VERSION)) for alias in problems if alias not in state}
        state |= {alias: (base, problems[alias]) for alias, base in unknown.items()}
        if state == self._reported and self._store.clock.machine.monotonic() - self._reported_at < HEARTBEAT_S:
            return
        with self._store.write() as conn:
            for alias, (adapter, problem) in state.items():
                releases.set_observed(conn, self._process, alias, adapter, problem)
        self._reported, self._reported_at = state, self._store.clock.machine.monotonic()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait(self._every)
            self._wake.clear()
            if self._stopping.is_set():
                return
            try:
                self.follow()
            except Exception as error:  # noqa: BLE001 - whatever it was, the next release must still be followed
                log.error("releases not followed", problem=type(error).__name__)
                self._stopping.wait(1.0)


def _about(adapter: str, problem: str | None) -> str | None:
    """Return the problem with the adapter's name at its beginning."""
    return problem if problem is None or problem.startswith(f"{adapter} ") else f"{adapter}: {problem}"
