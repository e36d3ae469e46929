"""Work queues: order, lanes, and slots of visitors that rest as long as they worked."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from chatbot.api.work_queue import WorkQueue, work_queues


def test_slots_are_those_of_the_lane() -> None:
    async def most(queue: WorkQueue, asked: int) -> int:
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

        running = [asyncio.create_task(queue.run(work)) for _ in range(asked)]
        while not inside or queue.count < asked:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        gate.set()
        await asyncio.gather(*running)
        return seen

    def of(processes: int) -> tuple[int, int]:
        return tuple(asyncio.run(most(queue, 6)) for queue in work_queues(processes).values())  # type: ignore[return-value]

    assert [of(n) for n in (1, 2, 4)] == [(1, 1), (2, 1), (4, 2)]


def test_a_slot_rests_as_long_as_its_text_took() -> None:
    async def until_the_second() -> float:
        queue = WorkQueue(1, rest=20.0)
        began = time.monotonic()
        await queue.run(lambda: time.sleep(0.05))
        assert queue.count == 0
        assert queue.wait_s > 0  # the slot rests, and who was served did not wait for that
        await queue.run(lambda: None)
        return time.monotonic() - began

    assert asyncio.run(until_the_second()) >= 21 * 0.05


def test_an_error_frees_the_slot() -> None:
    async def twice() -> int:
        queue = WorkQueue(1)
        with pytest.raises(ZeroDivisionError):
            await queue.run(lambda: 1 // 0)
        assert queue.count == 0
        return await queue.run(lambda: 7)

    assert asyncio.run(twice()) == 7


def test_who_stops_waiting_leaves_the_queue() -> None:
    async def given_up() -> int:
        queue, gate = WorkQueue(1), threading.Event()
        first = asyncio.create_task(queue.run(lambda: gate.wait(10)))
        while not queue.count:
            await asyncio.sleep(0.01)
        waiting = asyncio.create_task(queue.run(lambda: None))
        await asyncio.sleep(0.05)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        gate.set()
        await first
        return queue.count

    assert asyncio.run(given_up()) == 0
