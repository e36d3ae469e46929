"""Who waits for scrubbing: in order, by lanes, and visitors rest as long as they worked."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from chatbot.api.lines import Line, lines


def test_places_are_those_of_the_lane() -> None:
    async def most(line: Line, asked: int) -> int:
        inside, seen, lock = 0, 0, threading.Lock()
        gate = threading.Event()

        def work() -> None:
            nonlocal inside, seen
            with lock:
                inside += 1
                seen = max(seen, inside)
            gate.wait(10)
            with lock:
                inside -= 1

        running = [asyncio.create_task(line.run(work)) for _ in range(asked)]
        while not inside or line.count < asked:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        gate.set()
        await asyncio.gather(*running)
        return seen

    def of(processes: int) -> tuple[int, int]:
        return tuple(asyncio.run(most(line, 6)) for line in lines(processes).values())  # type: ignore[return-value]

    assert [of(n) for n in (1, 2, 4)] == [(1, 1), (2, 1), (4, 2)]


def test_a_place_rests_as_long_as_its_text_took() -> None:
    async def until_the_second() -> float:
        line = Line(1, rest=20.0)
        began = time.monotonic()
        await line.run(lambda: time.sleep(0.05))
        assert line.count == 0
        assert line.wait_s > 0  # the place rests, and who was served did not wait for that
        await line.run(lambda: None)
        return time.monotonic() - began

    assert asyncio.run(until_the_second()) >= 21 * 0.05


def test_an_error_frees_the_place() -> None:
    async def twice() -> int:
        line = Line(1)
        with pytest.raises(ZeroDivisionError):
            await line.run(lambda: 1 // 0)
        assert line.count == 0
        return await line.run(lambda: 7)

    assert asyncio.run(twice()) == 7


def test_who_stops_waiting_leaves_the_line() -> None:
    async def given_up() -> int:
        line, gate = Line(1), threading.Event()
        first = asyncio.create_task(line.run(lambda: gate.wait(10)))
        while not line.count:
            await asyncio.sleep(0.01)
        waiting = asyncio.create_task(line.run(lambda: None))
        await asyncio.sleep(0.05)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        gate.set()
        await first
        return line.count

    assert asyncio.run(given_up()) == 0
