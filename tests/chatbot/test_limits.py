"""Buckets, addresses, penalties and stores by themselves; time is the test's."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot.api.limits import buckets
from chatbot.api.limits.addresses import Proxies, parse
from chatbot.api.limits.bounded import Bounded
from chatbot.api.limits.buckets import DAY_S, Level, RateLimit
from chatbot.api.limits.concurrency import Concurrency
from chatbot.api.limits.limiter import duration
from chatbot.api.limits.penalties import FORGIVEN_S, LONGEST_S, Penalties
from chatbot.api.limits.stores import LEASE_SHARE, MemoryBuckets, SharedBuckets
from chatbot.api.limits.unnamed import OFTEN, UnnamedProxies
from chatbot.api.probing import SharedProbe
from shoptalk.crypto import Secrets
from shoptalk.store import Store, schema
from shoptalk.store.chat import rate_buckets

START = 1_800_000_000.0
DIGEST = Secrets(bytes(range(32))).digest


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


STEPS = st.lists(st.tuples(st.floats(0, 100), st.floats(0.1, 30)), min_size=1, max_size=60)


@given(STEPS, st.floats(1, 50), st.floats(1, 100))
def test_never_more_than_rate_and_burst(steps: list[tuple[float, float]], limit: float, period: float) -> None:
    rule, now = RateLimit("x", limit, period), START
    level, given_out = buckets.full(rule, now), 0.0
    for pause, cost in steps:
        now += pause
        level, taken = buckets.used(rule, level, cost, now)
        if taken.ok:
            given_out += cost
        elif cost <= limit:
            later, again = buckets.used(rule, level, cost, now + taken.wait_s + 1e-6)
            assert again.ok, "after the time to wait there are enough"
            assert later.tokens >= -1e-6
    assert given_out <= limit + rule.rate * (now - START) + 1e-6


@given(st.lists(st.tuples(st.floats(-100, 100), st.floats(0, 10)), max_size=30))
def test_a_clock_that_goes_back_gives_nothing(steps: list[tuple[float, float]]) -> None:
    rule, now, latest = RateLimit("x", 10, 60), START, START
    level, given_out = buckets.full(rule, now), 0.0
    for pause, cost in steps:
        now += pause
        latest = max(latest, now)
        level, taken = buckets.used(rule, level, cost, now)
        given_out += cost if taken.ok else 0.0
    assert given_out <= 10 + rule.rate * (latest - START) + 1e-6


def test_what_is_paid_afterwards_is_a_debt() -> None:
    rule = RateLimit("x", 60, 60)
    level = buckets.charged(rule, buckets.full(rule, START), 100, START)
    assert not buckets.used(rule, level, 0, START + 39)[1].ok
    assert buckets.used(rule, level, 0, START + 42)[1].ok


def test_a_daily_quota_comes_back_at_midnight() -> None:
    rule = RateLimit("x", 100, DAY_S, "tokens", daily=True)
    noon = START // DAY_S * DAY_S + DAY_S / 2
    level, taken = buckets.used(rule, Level(100, noon), 100, noon)
    assert (taken.ok, taken.remaining) == (True, 0)
    level, taken = buckets.used(rule, level, 0, noon + 3600)
    assert (taken.ok, round(taken.wait_s)) == (False, 11 * 3600)
    assert buckets.used(rule, level, 0, noon + DAY_S / 2)[1].remaining == 100


Headers = Sequence[tuple[bytes, bytes]]
XFF, FORWARDED = b"x-forwarded-for", b"forwarded"


@pytest.mark.parametrize(
    ("peer", "headers", "group"),
    [
        ("203.0.113.7", [], "203.0.113.7"),
        ("203.0.113.7", [(XFF, b"198.51.100.1")], "203.0.113.7"),  # not named: made up
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [(XFF, b"198.51.100.1")], "198.51.100.1"),
        ("10.0.0.1", [(XFF, b"1.1.1.1, 198.51.100.1")], "198.51.100.1"),  # the client's own stands left
        ("10.0.0.1", [(XFF, b"1.1.1.1"), (XFF, b"198.51.100.1")], "198.51.100.1"),
        ("10.0.0.1", [(XFF, b"198.51.100.1, 10.0.0.2")], "198.51.100.1"),
        ("10.0.0.1", [(XFF, b"198.51.100.1, 10.0.0.2, nonsense")], "10.0.0.1"),
        ("10.0.0.1", [(XFF, b"198.51.100.1, nonsense, 10.0.0.2")], "10.0.0.2"),
        ("10.0.0.1", [(XFF, b"")], "10.0.0.1"),
        ("10.0.0.1", [(XFF, b"10.0.0.3, 10.0.0.2")], "10.0.0.3"),
        ("10.0.0.1", [(XFF, b"198.51.100.1:4711")], "198.51.100.1"),
        ("10.0.0.1", [(XFF, b"[2001:db8:1:2:3:4:5:6]:4711")], "2001:db8:1:2::/64"),
        ("10.0.0.1", [(XFF, b"\xff\xfe")], "10.0.0.1"),
        ("10.0.0.1", [(FORWARDED, b"for=198.51.100.1")], "10.0.0.1"),  # another header than the proxies set
        ("::ffff:10.0.0.1", [(XFF, b"198.51.100.1")], "198.51.100.1"),
        ("::ffff:203.0.113.7", [], "203.0.113.7"),
        ("2001:db8:1:2:ffff::1", [], "2001:db8:1:2::/64"),
        ("2001:db8:1:2:eeee::9%eth0", [], "2001:db8:1:2::/64"),
        ("fd00::1", [(XFF, b"198.51.100.1")], "198.51.100.1"),
        (None, [(XFF, b"198.51.100.1")], "unknown"),
        ("testclient", [], "testclient"),
    ],
)
def test_the_address_is_the_right_most_that_is_no_proxy(peer: str | None, headers: Headers, group: str) -> None:
    assert Proxies(["10.0.0.0/8", "fd00::/8"]).origin(peer, headers).group == group


@pytest.mark.parametrize(
    ("value", "group"),
    [
        (b"for=198.51.100.1", "198.51.100.1"),
        (b'For="[2001:db8:1:2::17]:4711";proto=https;by=10.0.0.1', "2001:db8:1:2::/64"),
        (b"for=1.1.1.1, for=198.51.100.1;proto=http", "198.51.100.1"),
        (b"proto=https;for=198.51.100.1, for=10.0.0.9", "198.51.100.1"),
        (b"for=_hidden", "10.0.0.1"),
        (b"for=unknown, for=10.0.0.9", "10.0.0.9"),
        (b"xfor=1.1.1.1", "10.0.0.1"),
    ],
)
def test_forwarded_as_the_standard_has_it(value: bytes, group: str) -> None:
    proxies = Proxies(["10.0.0.0/8"], "forwarded")
    assert proxies.origin("10.0.0.1", [(FORWARDED, value), (XFF, b"9.9.9.9")]).group == group


def test_the_scheme_is_what_a_trusted_proxy_says() -> None:
    proxies, said = Proxies(["10.0.0.1"]), [(b"x-forwarded-proto", b"http, https")]
    assert proxies.origin("10.0.0.1", said).scheme == "https"
    assert proxies.origin("10.0.0.2", said).scheme is None
    assert Proxies(["10.0.0.1"], "forwarded").origin("10.0.0.1", [(FORWARDED, b"for=a;proto=HTTPS")]).scheme == "https"


@given(st.binary(max_size=300), st.text(max_size=40))
def test_no_header_breaks_it(value: bytes, peer: str) -> None:
    for header in ("x-forwarded-for", "forwarded"):
        proxies = Proxies(["0.0.0.0/0", "::/0"], header)
        assert proxies.origin("10.0.0.1", [(header.encode(), value)]).group
        assert proxies.origin(peer, [(header.encode(), value)]).group


def test_a_very_long_chain_costs_little() -> None:
    chain = b", ".join([b"10.0.0.1"] * 100_000)
    assert Proxies(["10.0.0.0/8"]).origin("10.0.0.1", [(XFF, chain)]).group == "10.0.0.1"
    assert parse("1" * 100_000) is None


def test_a_proxy_that_is_not_named_is_logged_once_and_kept(tmp_path: Path) -> None:
    async def requests() -> None:
        for _ in range(OFTEN - 1):
            await unnamed.note("8.8.8.8")
            await unnamed.note("172.17.0.1")
        assert file.read_text() == '{"peers": ["172.17.0.1"]}\n'
        await unnamed.note("8.8.8.8")

    file = tmp_path / "unnamed.json"
    unnamed = UnnamedProxies(file)
    asyncio.run(requests())
    assert "8.8.8.8" in file.read_text()
    unnamed.begin()
    assert not file.exists()


def test_as_many_at_once_as_may() -> None:
    concurrency = Concurrency()
    assert [concurrency.enter("a", 2) for _ in range(3)] == [True, True, False]
    assert concurrency.enter("b", 2)
    concurrency.leave("a")
    assert concurrency.enter("a", 2)
    for name in "aab":
        concurrency.leave(name)
    assert len(concurrency) == 0


def test_a_penalty_doubles_and_is_forgiven() -> None:
    clock = Clock()
    penalties = Penalties(clock)
    assert [penalties.add("a") for _ in range(5)] == [1, 2, 4, 8, 16]
    assert (penalties.wait_s("a"), penalties.wait_s("b")) == (16, 0)
    assert max(penalties.add("a") for _ in range(50)) == LONGEST_S
    clock.now += 54 * FORGIVEN_S
    assert (penalties.wait_s("a"), penalties.add("a")) == (0, 2)
    clock.now += 100 * FORGIVEN_S
    assert penalties.add("a") == 1
    assert [penalties.add("office", free=2) for _ in range(4)] == [0, 0, 1, 2]


def test_memory_forgets_what_was_not_used_for_longest() -> None:
    bounded: Bounded[int] = Bounded(2)
    bounded.put("a", 1)
    bounded.put("b", 2)
    assert bounded.get("a") == 1
    bounded.put("c", 3)
    assert [bounded.get(name) for name in "abc"] == [1, None, 3]


def test_any_number_of_addresses_takes_bounded_memory_and_leaves_keys_alone() -> None:
    async def work() -> None:
        await memory.take("key", "shop", rule, 10)
        for number in range(5000):
            await memory.take("address", str(number), rule, 1)
        assert len(memory) <= 1001
        assert not (await memory.take("key", "shop", rule, 1)).ok

    memory, rule = MemoryBuckets(Clock(), most=1000), RateLimit("x", 10)
    asyncio.run(work())


def test_processes_share_what_the_database_holds(store: Store) -> None:
    """Each of three takes whenever it can; all together get what one bucket allows."""
    clock, rule = Clock(), RateLimit("x", 50, 60)
    processes = [SharedBuckets(store, DIGEST, clock) for _ in range(3)]

    async def round_() -> int:
        return sum([(await p.take("key", "shop", rule, 1)).ok for _ in range(40) for p in processes])

    assert asyncio.run(round_()) == 50
    clock.now += 30
    assert asyncio.run(round_()) == 25
    clock.now += 6000
    assert asyncio.run(round_()) <= 50 + 3 * 50 * LEASE_SHARE


def test_a_lease_spares_transactions(sqlite_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, rule, writes = Clock(), RateLimit("x", 100, 60), []
    put = rate_buckets.put
    monkeypatch.setattr(rate_buckets, "put", lambda *a: (writes.append(a), put(*a)))
    shared = SharedBuckets(sqlite_store, DIGEST, clock)

    async def work() -> None:
        for _ in range(100):
            assert (await shared.take("key", "shop", rule, 1)).ok
        for _ in range(100):  # the bucket said for how long it is empty
            taken = await shared.take("key", "shop", rule, 1)
            assert (taken.ok, round(taken.wait_s, 3)) == (False, 0.6)

    asyncio.run(work())
    assert len(writes) <= 11


def test_a_debt_is_settled_in_the_database(store: Store) -> None:
    clock, rule = Clock(), RateLimit("x", 100, 100)
    one, other = SharedBuckets(store, DIGEST, clock), SharedBuckets(store, DIGEST, clock)

    async def work() -> None:
        assert (await one.take("key tokens", "shop", rule, 0)).ok
        one.charge("key tokens", "shop", rule, 150)
        assert not (await one.take("key tokens", "shop", rule, 0)).ok
        assert not (await other.take("key tokens", "shop", rule, 0)).ok
        clock.now += 49
        assert not (await other.take("key tokens", "shop", rule, 0)).ok
        clock.now += 3
        assert (await other.take("key tokens", "shop", rule, 0)).ok

    asyncio.run(work())


def test_full_buckets_leave_the_database(store: Store) -> None:
    clock, rule = Clock(), RateLimit("x", 60, 60)
    shared = SharedBuckets(store, DIGEST, clock)

    async def some(start: int) -> None:
        for number in range(start, start + 20):
            await shared.take("address", str(number), rule, 1)

    asyncio.run(some(0))
    clock.now += 61
    asyncio.run(some(20))
    with store.read() as conn:
        assert rate_buckets.count(conn) == 20
        ids = list(conn.execute(schema.rate_buckets.select().with_only_columns(schema.rate_buckets.c.id)).scalars())
    assert not any("address" in id for id in ids)  # who asked is a keyed hash
    with store.write() as conn:
        assert rate_buckets.forget_full(conn, clock.now + 61) == 20


def test_many_threads_get_no_more_than_there_is(store: Store) -> None:
    clock, rule = Clock(), RateLimit("x", 30, 60)

    def process(_: int) -> int:
        shared = SharedBuckets(store, DIGEST, clock)

        async def work() -> int:
            return sum([(await shared.take("key", "shop", rule, 1)).ok for _ in range(30)])

        return asyncio.run(work())

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(process, range(4))) == 30


def test_many_who_ask_at_once_cost_two_answers() -> None:
    begun, go = [], threading.Event()

    def find() -> int:
        begun.append(1)
        assert go.wait(10)
        return len(begun)

    async def work() -> list[int]:
        shared = SharedProbe(find)
        first = asyncio.create_task(shared.get())
        await asyncio.sleep(0)
        others = [asyncio.create_task(shared.get()) for _ in range(50)]
        await asyncio.sleep(0)
        go.set()
        return [await first, *(await asyncio.gather(*others))]

    assert asyncio.run(work()) == [1] + [2] * 50


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0ms"), (0.02, "20ms"), (7.46, "7.5s"), (360, "6m0s"), (86399, "23h59m59s")]
)
def test_times_as_openai_writes_them(seconds: float, said: str) -> None:
    assert duration(seconds) == said
