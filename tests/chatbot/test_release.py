"""Releases: what may follow what, on both databases, and how an API process follows."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from chatbot.engine.null import NullEngine
from chatbot.release.follower import ReleaseFollower
from chatbot.release.loader import Loader
from chatbot.release.moves import ReleaseMoves
from chatbot.router import Router
from shoptalk.domain import AdapterRef, Release, ReleaseState, Verdict
from shoptalk.errors import IllegalMove, InvalidInput, NoFreeSlot, NotFound
from shoptalk.models.artifacts import Artifacts
from shoptalk.models.registry import Registry
from shoptalk.moves import RELEASE_MOVES_BY_HAND, plain
from shoptalk.store import Store
from shoptalk.store.chat import releases
from shoptalk.store.training import evaluations
from tests.chatbot.engines import BASE, answer
from tests.clocks import now
from tests.shoptalk.adapters import adapter

pytestmark = pytest.mark.slow

V1, V2, V3 = (AdapterRef("shop", n) for n in (1, 2, 3))


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(str(tmp_path / "artifacts"))


@pytest.fixture
def registry(store: Store, artifacts: Artifacts) -> Registry:
    """With three versions."""
    made = Registry(store, artifacts)
    for seed in range(3):
        made.publish("shop", adapter(seed), base_sha256=NullEngine().base_sha256)
    return made


@pytest.fixture
def moves(store: Store, registry: Registry) -> ReleaseMoves:
    return ReleaseMoves(store, registry)


def live(moves: ReleaseMoves, ref: AdapterRef) -> Release:
    return moves.promote(moves.start("shop", str(ref), "cli").id, "cli", "tried")


def serving(store: Store) -> tuple[str, str | None] | None:
    with store.read() as conn:
        found = releases.desired_of(conn, "shop")
    return (found.adapter, found.previous) if found else None


def state(store: Store, release: Release) -> str:
    with store.read() as conn:
        found = releases.find(conn, release.id)
    assert found is not None
    return found.state.value


def test_a_release_begins_pending_and_changes_nothing(store: Store, moves: ReleaseMoves) -> None:
    release = moves.start("shop", "shop@v1", "key_1", evaluation_id="evl_1")
    assert (release.state, release.previous, release.actor) == (ReleaseState.PENDING, "shop@v0", "key_1")
    assert serving(store) is None


def test_promoting_supersedes_the_former(store: Store, moves: ReleaseMoves) -> None:
    first, second = live(moves, V1), live(moves, V2)
    assert serving(store) == ("shop@v2", "shop@v1")
    assert (state(store, first), state(store, second)) == ("superseded", "live")
    with store.read() as conn:
        assert [e.move for e in releases.events(conn)] == ["promote", "supersede", "start", "promote", "start"]


def test_rolling_back_restores_the_former(store: Store, moves: ReleaseMoves) -> None:
    first, second = live(moves, V1), live(moves, V2)
    assert moves.rollback_alias("shop", "cli").id == second.id
    assert serving(store) == ("shop@v1", "shop@v2")
    assert (state(store, first), state(store, second)) == ("live", "rolled_back")
    moves.rollback(first.id, "cli")
    assert serving(store) == ("shop@v0", "shop@v1")
    with pytest.raises(IllegalMove, match="nothing to roll back"):
        moves.rollback_alias("shop", "cli")
    live(moves, V2)  # what was rolled back may be tried again
    assert serving(store) == ("shop@v2", "shop@v0")


def test_the_base_model_can_be_released(store: Store, moves: ReleaseMoves) -> None:
    live(moves, V1)
    live(moves, BASE)
    assert serving(store) == ("shop@v0", "shop@v1")


def test_aborting_changes_nothing_else(store: Store, moves: ReleaseMoves) -> None:
    live(moves, V1)
    release = moves.start("shop", "shop@v2", "cli")
    assert moves.abort(release.id, "cli", "no").state is ReleaseState.ABORTED
    assert serving(store) == ("shop@v1", "shop@v0")
    assert moves.start("shop", "shop@v2", "cli").state is ReleaseState.PENDING


@pytest.mark.parametrize("end", ["live", "superseded", "aborted", "rolled_back", "failed"])
def test_what_is_decided_cannot_be_decided_again(store: Store, moves: ReleaseMoves, end: str) -> None:
    release = moves.start("shop", "shop@v1", "cli")
    with store.write() as conn:
        releases.put(conn, replace(release, state=ReleaseState(end)))
    for move in (moves.promote, moves.abort):
        with pytest.raises(IllegalMove, match=f"it is {plain(ReleaseState(end))}"):
            move(release.id, "cli")
    if end != "live":
        with pytest.raises(
            IllegalMove, match=f"cannot rollback release {release.id}: it is {plain(ReleaseState(end))}"
        ):
            moves.rollback(release.id, "cli")


def test_a_person_makes_the_moves_of_one_table(store: Store, moves: ReleaseMoves) -> None:
    release = moves.start("shop", "shop@v1", "cli")
    for move in ("supersede", "withdraw", "explode"):
        with pytest.raises(InvalidInput, match=f"'{move}' is no move; use promote, abort or rollback"):
            moves.by_hand(move, release.id, "key_1")
    assert moves.by_hand("promote", release.id, "key_1", "tried").state is ReleaseState.LIVE
    assert moves.by_hand("rollback", release.id, "key_1").state is ReleaseState.ROLLED_BACK
    other = moves.start("shop", "shop@v2", "cli")
    assert moves.by_hand("abort", other.id, "key_1").state is ReleaseState.ABORTED
    assert set(RELEASE_MOVES_BY_HAND) == {"promote", "abort", "rollback"}


def test_illegal_starts(store: Store, moves: ReleaseMoves) -> None:
    with pytest.raises(InvalidInput):
        moves.start("shop", "shop 1", "cli")
    with pytest.raises(NotFound):
        moves.start("shop", "shop@v9", "cli")
    with pytest.raises(NotFound):
        moves.promote("rel_0", "cli")
    moves.start("shop", "shop@v1", "cli")
    with pytest.raises(IllegalMove, match="undecided"):
        moves.start("shop", "shop@v2", "cli")
    other = moves.start("tea", "shop@v2", "cli")  # another alias is another matter
    moves.promote(other.id, "cli")
    with pytest.raises(IllegalMove, match="already serves"):
        moves.start("tea", "shop@v2", "cli")


def test_what_the_gate_rejected_is_not_released(store: Store, moves: ReleaseMoves) -> None:
    judged = evaluations.Evaluation("evl_1", "shop@v1", "shop@v0", "ds_1", {}, Verdict.REJECT, ("worse",), now())
    with store.write() as conn:
        evaluations.add(conn, judged)
    with pytest.raises(IllegalMove, match="rejected by the gate: worse"):
        moves.start("shop", "shop@v1", "cli")


def test_of_two_starts_at_once_one_wins(store: Store, moves: ReleaseMoves) -> None:
    ends: list[str] = []
    barrier = threading.Barrier(6)

    def start() -> None:
        barrier.wait()
        try:
            ends.append(moves.start("shop", "shop@v1", "cli").state.value)
        except IllegalMove:
            ends.append("refused")

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ends) == ["pending", *["refused"] * 5]


class Api:
    """One API process's part: engine, router and reconciler, followed by hand."""

    def __init__(self, store: Store, registry: Registry, engine: NullEngine, router: Router | None = None) -> None:
        self.store, self.engine, self.router = store, engine, router or Router("shop")
        self.follower = ReleaseFollower(store, Loader(registry, engine, 2), engine, self.router, "api_1")

    def follow(self) -> None:
        self.follower.follow()

    @property
    def serves(self) -> AdapterRef:
        return self.router.aliases["shop"]

    @property
    def observed(self) -> tuple[str, str | None]:
        with self.store.read() as conn:
            (row,) = releases.all_observed(conn)
        return row.adapter, row.problem


@pytest.fixture
def api(store: Store, registry: Registry) -> Iterator[Api]:
    engine = NullEngine(slots=2)
    engine.start()
    yield Api(store, registry, engine)
    engine.stop()


def test_a_process_follows_and_says_so(api: Api, moves: ReleaseMoves) -> None:
    api.follow()
    assert api.observed == ("shop@v0", None)
    live(moves, V1)
    api.follow()
    assert (api.serves, api.observed) == (V1, ("shop@v1", None))
    assert "shop v1" in answer(api.engine, adapter=api.serves, max_tokens=99)


def test_the_former_stays_resident_and_older_ones_leave(api: Api, moves: ReleaseMoves) -> None:
    for ref in (V1, V2, V3):
        live(moves, ref)
        api.follow()
    api.follow()
    assert set(api.engine.resident()) == {V2, V3}
    moves.rollback_alias("shop", "cli")
    api.follow()
    assert api.serves == V2
    assert set(api.engine.resident()) == {V2, V3}


@pytest.mark.parametrize("harm", ["altered", "missing", "a folder"])
def test_an_adapter_that_cannot_be_loaded_leaves_the_alias(
    api: Api, moves: ReleaseMoves, registry: Registry, artifacts: Artifacts, harm: str
) -> None:
    live(moves, V1)
    api.follow()
    path = Path(artifacts.path_of(registry.find(V2).weights_sha256))
    data = path.read_bytes()
    path.unlink()
    if harm == "altered":
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif harm == "a folder":
        path.mkdir()
    live(moves, V2)
    api.follow()
    assert api.serves == V1
    adapter_name, problem = api.observed
    assert adapter_name == "shop@v1"
    assert problem is not None
    assert problem.startswith("shop@v2 was not loaded")
    assert "shop v1" in answer(api.engine, adapter=api.serves, max_tokens=99)
    moves.rollback_alias("shop", "cli")
    api.follow()
    assert api.observed == ("shop@v1", None)


def test_a_version_that_had_to_leave_comes_back(api: Api, moves: ReleaseMoves, registry: Registry) -> None:
    """More versions than slots: one that is asked for takes the place of the least recently used."""
    live(moves, V1)
    api.follow()
    loader = Loader(registry, api.engine, 2)
    loader.ensure(V2)
    loader.ensure(V3)
    assert set(api.engine.resident()) == {V2, V3}
    loader.ensure(V1)
    assert "shop v1" in answer(api.engine, adapter=V1, max_tokens=99)
    api.follow()
    assert api.observed == ("shop@v1", None)


def test_a_former_adapter_takes_nobodys_place(api: Api, moves: ReleaseMoves, registry: Registry) -> None:
    live(moves, V1)
    live(moves, V2)
    loader = Loader(registry, api.engine, 2)
    loader.ensure(V3)  # somebody asks for it
    api.follow()
    assert set(api.engine.resident()) == {V2, V3}
    assert api.observed == ("shop@v2", None)
    with pytest.raises(NoFreeSlot):
        loader.ensure_if_room(V1)
    assert api.engine.unload(V3)
    loader.ensure_if_room(V1)
    assert set(api.engine.resident()) == {V1, V2}


class SignallingRouter(Router):
    """A router that signals when an alias moved."""

    def __init__(self) -> None:
        super().__init__("shop")
        self.moved = threading.Event()

    def point(self, alias: str, adapter: AdapterRef) -> None:
        super().point(alias, adapter)
        self.moved.set()


def test_a_running_process_follows_by_itself_and_takes_its_leave(
    store: Store, registry: Registry, moves: ReleaseMoves
) -> None:
    engine, router = NullEngine(), SignallingRouter()
    engine.start()
    api = Api(store, registry, engine, router)
    live(moves, V1)
    api.follower.start()
    assert api.serves == V1  # before the first request
    router.moved.clear()
    live(moves, V2)
    api.follower.poke()
    assert router.moved.wait(10)
    api.follower.stop()
    with store.read() as conn:
        assert releases.all_observed(conn) == []
