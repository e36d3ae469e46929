"""Releases: what may follow what, on both databases, and how an API process follows."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from chatbot.engine.null import NullEngine
from chatbot.release.follower import RETRY_S, ReleaseFollower
from chatbot.release.loader import Loader
from chatbot.release.moves import ReleaseMoves
from chatbot.router import Router
from shoptalk.clock import Clock
from shoptalk.domain import AdapterRef, Release, ReleaseState, Verdict
from shoptalk.errors import IllegalMove, InvalidInput, NoFreeSlot, NotFound
from shoptalk.models.artifacts import Artifacts
from shoptalk.models.registry import Registry
from shoptalk.moves import RELEASE_MOVES_BY_HAND, plain
from shoptalk.store import Store
from shoptalk.store.chat import releases
from shoptalk.store.database import machine_now
from shoptalk.store.schema import observed
from shoptalk.store.training import evaluations
from tests.chatbot.engines import BASE, answer
from tests.clocks import AheadMachine, now
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
    release = moves.start("shop", "shop@v1", "key_1")
    assert (release.state, release.previous, release.actor) == (ReleaseState.PENDING, "shop@v0", "key_1")
    assert serving(store) is None


def test_promoting_supersedes_the_former(store: Store, moves: ReleaseMoves) -> None:
    first, second = live(moves, V1), live(moves, V2)
    assert serving(store) == ("shop@v2", "shop@v1")
    assert (state(store, first), state(store, second)) == ("superseded", "live")
    with store.read() as conn:
        made = [e.move for e in releases.events(conn)]
    assert made == ["serve", "supersede", "promote", "start", "serve", "promote", "start"]


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

    def __init__(
        self,
        store: Store,
        registry: Registry,
        engine: NullEngine,
        router: Router | None = None,
        name: str = "api_1",
        slots: int = 2,
    ) -> None:
        self.store, self.engine, self.router, self.name = store, engine, router or Router("shop"), name
        moves, loader = ReleaseMoves(store, registry), Loader(registry, engine, slots)
        self.follower = ReleaseFollower(store, moves, loader, engine, self.router, name)

    def follow(self) -> None:
        self.follower.follow()

    @property
    def serves(self) -> AdapterRef:
        return self.router.aliases["shop"]

    @property
    def observed(self) -> tuple[str, str | None]:
        with self.store.read() as conn:
            (row,) = [row for row in releases.all_observed(conn) if row.process == self.name]
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
    release = live(moves, V2)
    api.follow()
    assert api.serves == V1
    adapter_name, problem = api.observed
    assert adapter_name == "shop@v1"
    assert problem is not None
    assert problem.startswith("shop@v2 was not loaded")
    assert "shop v1" in answer(api.engine, adapter=api.serves, max_tokens=99)
    assert (state(api.store, release), serving(api.store)) == ("failed", ("shop@v1", None))
    with api.store.read() as conn:
        assert "refuses it: shop@v2 was not loaded" in releases.events(conn, release_id=release.id)[0].reason
        current = releases.live(conn, "shop")
    assert current is not None
    assert current.adapter == "shop@v1"
    api.follow()
    assert api.observed == ("shop@v1", None)


@pytest.fixture
def second(store: Store, registry: Registry) -> Iterator[Api]:
    engine = NullEngine(slots=2)
    engine.start()
    yield Api(store, registry, engine, name="api_2")
    engine.stop()


def test_a_release_is_live_when_every_process_serves_it(api: Api, second: Api, moves: ReleaseMoves) -> None:
    first = live(moves, V1)
    api.follow()
    second.follow()
    release = live(moves, V2)
    assert (release.state, state(api.store, first)) == (ReleaseState.ROLLING_OUT, "live")
    api.follow()
    assert (state(api.store, release), state(api.store, first)) == ("rolling_out", "live")
    second.follow()
    assert (state(api.store, release), state(api.store, first)) == ("live", "superseded")


def test_one_process_that_refuses_is_enough(
    api: Api, second: Api, moves: ReleaseMoves, registry: Registry, artifacts: Artifacts
) -> None:
    first = live(moves, V1)
    api.follow()
    second.follow()
    release = live(moves, V2)
    api.follow()
    assert api.serves == V2
    Path(artifacts.path_of(registry.find(V2).weights_sha256)).unlink()
    second.follow()
    assert (state(api.store, release), state(api.store, first)) == ("failed", "live")
    api.follow()
    assert api.serves == second.serves == V1


def test_a_process_that_is_gone_is_not_waited_for(api: Api, second: Api, moves: ReleaseMoves) -> None:
    api.follow()
    second.follow()
    release = live(moves, V1)
    with api.store.write() as conn:
        gone = machine_now(conn) - 2 * releases.STALE
        conn.execute(sa.update(observed).where(observed.c.process == "api_2").values(updated_at=gone))
    api.follow()
    assert state(api.store, release) == "live"


def test_of_a_new_alias_every_process_is_asked_too(api: Api, second: Api, moves: ReleaseMoves) -> None:
    api.follow()
    second.follow()
    release = moves.promote(moves.start("tea", str(V1), "cli").id, "cli")
    api.follow()
    assert state(api.store, release) == "rolling_out"
    second.follow()
    assert state(api.store, release) == "live"


def test_a_reply_that_holds_the_last_slot_is_no_refusal_at_once(
    store: Store, registry: Registry, moves: ReleaseMoves
) -> None:
    machine = AheadMachine()
    store.clock = Clock(machine=machine)
    engine = NullEngine()
    engine.start()
    api = Api(store, registry, engine, slots=0)
    api.follow()
    release = live(moves, V1)
    api.follow()
    assert (state(store, release), api.observed) == ("rolling_out", ("shop@v0", None))
    machine.ahead_s += RETRY_S + 1
    api.follow()
    assert state(store, release) == "failed"
    engine.stop()


def test_while_one_rolls_out_no_other_begins(api: Api, moves: ReleaseMoves) -> None:
    waiting = moves.start("shop", str(V1), "cli")
    api.follow()
    moves.promote(waiting.id, "cli")
    with pytest.raises(IllegalMove, match="is rolling out; wait until it is live"):
        moves.start("shop", str(V2), "cli")
    assert moves.settled(waiting.id, 0.0).state is ReleaseState.ROLLING_OUT
    api.follow()
    assert moves.settled(waiting.id, 0.0).state is ReleaseState.LIVE


def test_a_roll_out_can_be_taken_back(api: Api, moves: ReleaseMoves) -> None:
    first = live(moves, V1)
    api.follow()
    release = live(moves, V2)
    assert moves.rollback_alias("shop", "cli").id == release.id
    assert (state(api.store, release), state(api.store, first)) == ("rolled_back", "live")
    assert serving(api.store) == ("shop@v1", None)


@pytest.mark.parametrize("gone", [V1, V2])
def test_an_adapter_withdrawn_during_a_roll_out_is_not_served(api: Api, moves: ReleaseMoves, gone: AdapterRef) -> None:
    first = live(moves, V1)
    api.follow()
    release = live(moves, V2)
    moves.withdraw(gone, "erasure", "erased")
    api.follow()
    if gone == V2:
        assert (api.serves, state(api.store, first), state(api.store, release)) == (V1, "live", "rolled_back")
    else:
        assert (api.serves, state(api.store, first), state(api.store, release)) == (V2, "rolled_back", "live")


def test_an_adapter_that_serves_until_replaced_is_served_on_where_its_successor_is_refused(
    api: Api, moves: ReleaseMoves, registry: Registry, artifacts: Artifacts
) -> None:
    live(moves, V1)
    api.follow()
    registry.mark(V1, "era_1", "when_replaced")
    Path(artifacts.path_of(registry.find(V2).weights_sha256)).unlink()
    release = live(moves, V2)
    api.follow()
    assert (state(api.store, release), serving(api.store), api.serves) == ("failed", ("shop@v1", None), V1)


def test_a_roll_out_goes_on_in_a_process_that_starts_later(api: Api, second: Api, moves: ReleaseMoves) -> None:
    api.follow()
    release = live(moves, V1)
    with api.store.write() as conn:
        releases.forget_observed(conn, "api_1")  # it was killed
    second.follow()
    assert (state(api.store, release), second.serves) == ("live", V1)


def test_a_verdict_counts_against_what_is_served(store: Store, moves: ReleaseMoves) -> None:
    for name, adapter_name, against, verdict in (
        ("evl_1", "shop@v1", "shop@v0", Verdict.PROMOTE),
        ("evl_2", "shop@v2", "shop@v0", Verdict.PROMOTE),
        ("evl_3", "shop@v3", "shop@v1", Verdict.INCONCLUSIVE),
    ):
        judged = evaluations.Evaluation(name, adapter_name, against, "ds_1", {}, verdict, (), now())
        with store.write() as conn:
            evaluations.add(conn, judged)
    release = moves.start("shop", "shop@v1", "round:rnd_1", evaluation_id="evl_1")
    moves.promote(release.id, "round:rnd_1")
    with pytest.raises(IllegalMove, match="shop@v2 was judged against shop@v0, but shop@v1 counts now"):
        moves.start("shop", "shop@v2", "round:rnd_2", evaluation_id="evl_2")
    for evaluation, adapter_name in (("evl_3", "shop@v3"), ("evl_1", "shop@v2"), ("evl_9", "shop@v2")):
        with pytest.raises(IllegalMove, match="is no promotion of"):
            moves.start("shop", adapter_name, "round:rnd_2", evaluation_id=evaluation)


def test_what_is_served_is_what_processes_serve(
    api: Api, moves: ReleaseMoves, registry: Registry, artifacts: Artifacts
) -> None:
    """Of a release that went live while no process ran, and that none can load, that is the base model."""
    Path(artifacts.path_of(registry.find(V1).weights_sha256)).unlink()
    assert live(moves, V1).state is ReleaseState.LIVE
    with api.store.read() as conn:
        assert releases.served(conn, "shop") == "shop@v1"
    api.follow()
    with api.store.read() as conn:
        assert releases.served(conn, "shop") == "shop@v0"
        assert releases.served(conn, "tea") is None


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
