"""Decide which sequences wait, which are in the batch, and how much of their prompts the next step computes.

Requests come from any thread; `lock` guards the state, and the engine's thread waits on it for work. Knows lanes,
priorities and times; neither tokens' meaning nor the model.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, NamedTuple, TypeVar

from chatbot.engine.compute.autotune import MIN_CHUNK
from chatbot.engine.fair_queue import FairQueue
from chatbot.engine.limits import EngineLimits
from chatbot.engine.protocol import LANES, Lane, Priority
from chatbot.engine.sequence import RunningSequence
from shoptalk.errors import EngineStopped

T = TypeVar("T")
Task = tuple[Callable[[], Any], Future[Any]]
NEWEST_WEIGHT = 0.2  # of the newest request in the moving average of their seconds


class StepWork(NamedTuple):
    """What comes before a step's passes: tasks to run, and waiting sequences that end without a token."""

    tasks: deque[Task]
    ended: list[RunningSequence]


class Scheduler:
    """The waiting and the running sequences. `running` and `chunk` are changed by the engine's thread only."""

    def __init__(self, limits: EngineLimits) -> None:
        self.lock = threading.Condition()  # reentrant
        self.stopping = False
        self.running: list[RunningSequence] = []  # the batch, oldest first
        self.chunk = limits.prefill_chunk  # tokens of prompts in a pass that others in the batch wait for
        self._limits, self._queue_limits = limits, limits.queue
        self._queue: FairQueue[RunningSequence] = FairQueue(limits.max_batch, self._queue_limits.visitor_sequences)
        self._displaced: list[RunningSequence] = []  # out of the queue, and not ended yet
        self._tasks: deque[Task] = deque()
        self._keys_alone = False  # in the last pass over prompts
        self._seconds: dict[Lane, float] = dict.fromkeys(LANES, 1.0)  # in the batch: moving average over requests

    # For any thread.

    def find_room(
        self, lane: Lane, group: str, priority: Priority, ahead: int = 0
    ) -> tuple[float | None, RunningSequence | None]:
        """Return (seconds until there may be room, None where there is; the sequence that one more displaces).

        Assumes that `ahead` more requests of the lane come before it. Call it with the lock held.
        """
        waiting = self._queue.count(priority) + ahead
        visitors = self._queue.count(priority, "visitors") + (ahead if lane == "visitors" else 0)
        wait = self._queue_limits.retry_after(lane, waiting, visitors, self._expected_s(lane))
        if wait is None or lane == "keys":
            return wait, None
        displaced = self._queue.displaced_by(lane, group, priority)
        return (None if displaced else wait), displaced

    def push(self, sequence: RunningSequence, displaced: RunningSequence | None) -> None:
        """Queue a sequence in place of the displaced one, if any. Call it with the lock held, after `find_room`."""
        if displaced is not None:
            displaced.displaced = True
            self._queue.remove(displaced)
            self._displaced.append(displaced)
        self._queue.push(sequence)
        self.lock.notify()

    def cancel(self, request_id: str) -> None:
        """Mark a request's sequence as cancelled; it ends at the next step."""
        with self.lock:
            for sequence in (*self._queue, *self.running):
                if sequence.request.id == request_id:
                    sequence.cancelled = True
            self.lock.notify()

    def run_between_steps(self, task: Callable[[], T]) -> Future[T]:
        """Let the engine's thread run a task before its next step. Raises EngineStopped."""
        done: Future[T] = Future()
        with self.lock:
            if self.stopping:
                raise EngineStopped
            self._tasks.append((task, done))
            self.lock.notify()
        return done

    def stop(self) -> None:
        """Let the engine's thread end before its next step."""
        with self.lock:
            self.stopping = True
            self.lock.notify()

    def metrics(self) -> Mapping[str, float]:
        """Return the sizes of batch and queue. Call it with the lock held."""
        return {
            "rows": len(self.running),
            "waiting": self._queue.count("normal"),
            "waiting_visitors": self._queue.count("normal", "visitors"),
            "rows_visitors": self._lane_sizes().get("visitors", 0),
        }

    # For the engine's thread.

    def next_step(self) -> StepWork | None:
        """Wait for work, then fill the batch; return None where the engine is to stop."""
        with self.lock:
            while not (self._queue or self.running or self._displaced or self._tasks or self.stopping):
                self.lock.wait()
            if self.stopping:
                return None
            tasks, self._tasks = self._tasks, deque()
            for sequence in self._queue:
                visitor = sequence.lane == "visitors"
                sequence.displaced |= visitor and sequence.waited_s > self._queue_limits.visitor_wait_s
            ended = [sequence for sequence in self._queue if sequence.ends_early]
            for sequence in ended:
                self._queue.remove(sequence)
            ended, self._displaced = [*ended, *self._displaced], []
            self._fill_batch()
        return StepWork(tasks, ended)

    def next_prompts(self) -> list[RunningSequence]:
        """Return the sequences whose prompts this step may compute, first come first.

        Those of the lane "keys" go first. While there are any in the batch, visitors' prompts are computed every other
        step only, so that no visitor's long prompt holds them up.
        """
        self._keys_alone = not self._keys_alone and any(s.lane == "keys" for s in self.running)
        lanes = ("keys",) if self._keys_alone else LANES
        return [s for lane in lanes for s in self.running if s.lane == lane and not s.decoding]

    def prompt_budget(self, lane: Lane) -> int:
        """Return how many tokens of a lane's prompts one pass may compute.

        For keys: `chunk`, a pass that hardly anybody notices, where sequences of keys wait for their next token, and
        half of it where these fill most of the batch; visitors' sequences hold no key's prompt up. For visitors always
        half of `chunk`, since a key's request may come at any time.
        """
        decoding = sum(s.decoding for s in self.running if s.lane == "keys")
        budget = self.chunk if decoding or lane == "visitors" else self._limits.prefill_chunk
        half = lane == "visitors" or 2 * decoding > self._limits.max_batch
        return max(min(budget, MIN_CHUNK), budget // 2) if half else budget

    def remove(self, sequence: RunningSequence) -> None:
        """Take a sequence out of the batch; fine where it is not in it."""
        with self.lock:
            if sequence in self.running:
                self.running.remove(sequence)

    def record_seconds(self, sequence: RunningSequence) -> None:
        """Count the time of a sequence that leaves in its lane's moving average."""
        if sequence.admitted:
            average = self._seconds[sequence.lane]
            self._seconds[sequence.lane] += NEWEST_WEIGHT * (time.perf_counter() - sequence.admitted - average)

    def clear(self) -> tuple[deque[Task], list[RunningSequence]]:
        """Stop, and return all tasks and sequences that are left."""
        with self.lock:
            self.stopping = True
            sequences = [*self.running, *self._queue, *self._displaced]
            self.running, self._displaced, self._queue = [], [], FairQueue()
            tasks, self._tasks = self._tasks, deque()
        return tasks, sequences

    def _expected_s(self, lane: Lane) -> float:
        """Return the seconds a request of a lane takes in the batch: the average, or as long as those there already."""
        now = time.perf_counter()
        ages = [now - sequence.admitted for sequence in self.running if sequence.lane == lane]
        return max(self._seconds[lane], sum(ages) / len(ages) if ages else 0.0)

    def _fill_batch(self) -> None:
        """Admit sequences; where any of normal priority waits, one of low priority makes room and goes on later."""
        if (ready := self._queue.ready(self._lane_sizes())) and len(self.running) >= self._limits.max_batch:
            low = [sequence for sequence in self.running if sequence.priority == "low"]
            for sequence in low[:ready]:
                self.running.remove(sequence)
                self._queue.push(sequence, first=True)
        while len(self.running) < self._limits.max_batch:
            sizes = self._lane_sizes()
            if not (self._queue.ready(sizes) or self._queue.ready(sizes, "low")):
                return
            sequence = self._queue.pop(sizes)
            sequence.admitted = sequence.admitted or time.perf_counter()
            self.running.append(sequence)

    def _lane_sizes(self) -> Counter[Lane]:
        """Return how many sequences each lane has in the batch."""
        return Counter(sequence.lane for sequence in self.running)
