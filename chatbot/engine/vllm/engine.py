"""The engine that lets a vLLM server compute; see docs/vllm.md. One event loop, in a thread of its own, does all I/O.

Requests wait here, not in vLLM, so that clients take turns. Each adapter version has a name of its own on the server
and is unloaded there only when no request holds it. A server that is away is asked again with exponential backoff and
jitter; when it is back, the adapters it lost are loaded again, and those it should not have are unloaded. Knows nothing
of what is recorded.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
import traceback
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog

from chatbot.engine.fair_queue import FairQueue
from chatbot.engine.limits import QueueLimits, context_exceeded
from chatbot.engine.protocol import LANES, FinishReason, GenerationRequest, Lane, OnEvent, Priority
from chatbot.engine.vllm.adapters import AdapterCheck, AdapterFolder, zero_adapter
from chatbot.engine.vllm.client import VllmClient
from chatbot.engine.vllm.job import Job
from chatbot.engine.vllm.residents import BASE, ResidentAdapters
from chatbot.engine.vllm.server import ServerInfo, await_server, examine
from shoptalk.domain import AdapterRef
from shoptalk.errors import EngineStopped, EngineUnavailable, Overloaded, ShoptalkError
from shoptalk.models.adapterfile import AdapterFiles
from shoptalk.models.basemodel import BaseModel, ChatTokenizer

T = TypeVar("T")
log = structlog.get_logger(__name__)
CHECK_S = 5.0  # between two health checks
UNLOAD_S = 5.0  # for unloading all adapters at the end
SHORTEST_S, LONGEST_S = 0.5, 30.0  # of the backoff
NEWEST_WEIGHT = 0.2  # of the newest reply in the moving average of their seconds


@dataclass(frozen=True, slots=True)
class VllmLimits:
    """How much the vLLM engine takes on. `max_batch` replies are computed at once, `max_queue` more wait."""

    max_batch: int
    max_context: int
    max_queue: int
    slots: int
    max_rank: int
    wait_s: float  # for the server, at the start
    visitors: float = 0.5  # their share of batch and queue
    visitor_wait_s: float = 30.0  # a visitor who would wait longer is refused

    @property
    def queue(self) -> QueueLimits:
        return QueueLimits(self.max_batch, self.max_queue, self.visitors, self.visitor_wait_s)


class VllmEngine:
    """The engine over a vLLM server; see `chatbot.engine.protocol.Engine`."""

    def __init__(
        self,
        base: BaseModel,
        tokenizer: ChatTokenizer,
        client: VllmClient,
        folder: AdapterFolder,
        limits: VllmLimits,
    ) -> None:
        self._base, self._tokenizer = base, tokenizer
        self._client, self._folder, self._limits = client, folder, limits
        self._check = AdapterCheck(base.folder / "model.safetensors", limits.max_rank)
        self._residents = ResidentAdapters(client, folder, limits.slots)
        self._lock = threading.Lock()  # guards the next seven
        self._jobs: set[Job] = set()
        self._queue_limits = limits.queue
        self._queue: FairQueue[Job] = FairQueue(limits.max_batch, self._queue_limits.visitor_sequences)
        self._seconds: dict[Lane, float] = dict.fromkeys(LANES, 1.0)  # of a reply: moving average
        self._server: ServerInfo | None = None
        self._up = False
        self._loop: asyncio.AbstractEventLoop | None = None  # there while requests are taken
        self._thread: threading.Thread | None = None

    @property
    def fingerprint(self) -> str:
        version = self._server.version if self._server else "unknown"
        return f"{self._base.fingerprint}-vllm-{version}"

    @property
    def base_sha256(self) -> str:
        return self._base.sha256

    def start(self) -> None:
        """Wait for the server. Raises ConfigurationError where it does not answer in time, or is unfit."""
        self._folder.open()
        ready: Future[None] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._main(ready)), name="vllm-engine", daemon=True
        )  # fmt: skip
        self._thread.start()
        try:
            ready.result()
        except Exception:
            self.stop()
            raise

    def stop(self) -> None:
        with self._lock:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._stopping.set)
            self._loop = None
        if self._thread is not None:
            self._thread.join()
        self._folder.close()

    def healthy(self) -> bool:
        return self._up and self._loop is not None

    def submit(self, request: GenerationRequest, on_event: OnEvent) -> None:
        prompt = self._tokenizer.render(request.messages)
        room = self._limits.max_context - len(prompt)
        if room < 1:
            raise context_exceeded(self._limits.max_context, len(prompt))
        with self._lock:
            if self._loop is None:
                raise EngineStopped
            if not self._up:
                raise EngineUnavailable
            wait, displaced = self._find_room(request.lane, request.queue_group, request.priority)
            if wait is not None:
                raise Overloaded(retry_after=wait)
            model = self._residents.hold(request.adapter)
            job = Job(request, on_event, self._tokenizer, prompt, room, model)
            if displaced is not None:
                self._queue.remove(displaced)
                displaced.displaced = True
                self._loop.call_soon_threadsafe(self._end, displaced, "displaced")
            self._jobs.add(job)
            self._queue.push(job)
            self._loop.call_soon_threadsafe(self._admit, job)

    def crowded(self, lane: Lane, group: str, ahead: int) -> float | None:
        with self._lock:
            return self._find_room(lane, group, "normal", ahead)[0]

    def _find_room(self, lane: Lane, group: str, priority: Priority, ahead: int = 0) -> tuple[float | None, Job | None]:
        """Return (seconds until there may be room, None where there is; the job that one more request displaces).

        Assumes that `ahead` more requests of the lane come before it. Call it with the lock held.
        """
        busy, visiting = sum(job.task is not None for job in self._jobs), self._lane_size("visitors")
        idle = max(0, self._limits.max_batch - busy)  # waiting requests that start at once
        waiting = self._queue.count(priority) + ahead - idle
        visitors = self._queue.count(priority, "visitors") + (ahead if lane == "visitors" else 0)
        visitors -= min(idle, max(0, self._queue_limits.visitor_sequences - visiting))
        wait = self._queue_limits.retry_after(lane, waiting, visitors, self._expected_s(lane))
        if wait is None or lane == "keys":
            return wait, None
        displaced = self._queue.displaced_by(lane, group, priority)
        return (None if displaced else wait), displaced

    def _expected_s(self, lane: Lane) -> float:
        """Return the seconds a reply of a lane takes: the average, or as long as those that run already."""
        ages = [job.seconds for job in self._jobs if job.lane == lane and job.task is not None]
        return max(self._seconds[lane], sum(ages) / len(ages) if ages else 0.0)

    def _lane_size(self, lane: Lane) -> int:
        """Return how many replies of a lane are being computed."""
        return sum(job.task is not None and job.lane == lane for job in self._jobs)

    def cancel(self, request_id: str) -> None:
        with self._lock:
            if self._loop is None:
                return
            for job in [job for job in self._jobs if job.request.id == request_id]:
                self._loop.call_soon_threadsafe(self._end, job, "cancelled")

    def load(self, adapter: AdapterRef, files: AdapterFiles) -> None:
        if adapter.is_base:
            return
        self._check.check(files)  # on the caller's thread
        self._call(self._residents.load(adapter, files))

    def unload(self, adapter: AdapterRef) -> bool:
        if adapter not in self._residents.refs():
            return True
        if not self._residents.drop(adapter):
            return False
        try:
            self._call(self._residents.reconcile())
        except (ShoptalkError, OSError) as error:  # unloaded as soon as the server answers again
            log.warning("adapter not unloaded yet", adapter=str(adapter), problem=str(error))
        return True

    def resident(self) -> Sequence[AdapterRef]:
        return self._residents.refs()

    def metrics(self) -> Mapping[str, float]:
        """Return what is in use now: replies being computed, requests waiting, adapters held."""
        with self._lock:
            waiting = len(self._queue)
            return {
                "rows": len(self._jobs) - waiting,
                "rows_visitors": self._lane_size("visitors"),
                "waiting": waiting,
                "waiting_visitors": self._queue.count("normal", "visitors"),
                "held": self._residents.held(),
            }

    def forget(self) -> None:
        """Do nothing: vLLM's prefix cache cannot be cleared.

        It holds scrubbed text only, and new requests take its room.
        """

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the event loop and return its result. Raises EngineStopped."""
        with self._lock:
            if self._loop is None:
                work.close()
                raise EngineStopped
            done = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return done.result()
        except CancelledError:
            raise EngineStopped from None

    # From here on: the event loop's thread.

    async def _main(self, ready: Future[None]) -> None:
        self._stopping, self._recheck = asyncio.Event(), asyncio.Event()
        async with self._client:
            try:
                limits = self._limits
                self._server = await await_server(self._client, self._base, limits.max_context, limits.wait_s)
                await self._residents.reconcile()
                await self._residents.load(BASE, zero_adapter(self._check))
            except Exception as error:  # noqa: BLE001 - handed to the thread that starts the engine
                ready.set_exception(error)
                return
            with self._lock:
                self._loop, self._up = asyncio.get_running_loop(), True
            ready.set_result(None)
            tasks = [asyncio.create_task(work) for work in (self._watch(), self._stopping.wait())]
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            self._stopping.set()
            with self._lock:
                self._loop = None
            await self._end_all()
            await self._unload_all()
            for task in ended:
                task.result()  # raises where the watch failed

    def _admit(self, job: Job) -> None:
        """Set a new job's timers and start what there is room for."""
        if job.request.deadline_s is not None:
            left = job.submitted + job.request.deadline_s - time.perf_counter()
            job.timer = asyncio.get_running_loop().call_later(left, self._end, job, "deadline")
        if job.lane == "visitors":
            asyncio.get_running_loop().call_later(self._queue_limits.visitor_wait_s, self._displace_late, job)
        self._dispatch()

    def _displace_late(self, job: Job) -> None:
        """End a job that has waited as long as a visitor may."""
        if job.task is None and not job.finished:
            self._end(job, "displaced")

    def _dispatch(self) -> None:
        """Start waiting jobs while there is room."""
        while not self._stopping.is_set():
            with self._lock:
                held = {lane: self._lane_size(lane) for lane in LANES}
                able = self._queue.ready(held) or self._queue.ready(held, "low")
                if not able or sum(held.values()) >= self._limits.max_batch:
                    return
                job = self._queue.pop(held)
            job.task = asyncio.create_task(job.run(self._client))
            job.task.add_done_callback(lambda task, job=job: self._ended(job, task))  # type: ignore[misc]

    def _end(self, job: Job, reason: FinishReason) -> None:
        """End a job early, waiting or running."""
        if job.finished or job.ended:
            return
        job.ended = reason
        if job.task is not None:
            job.task.cancel()
            return
        with self._lock:
            if not job.displaced:
                self._queue.remove(job)
        self._finish(job, "displaced" if job.displaced else reason)

    def _ended(self, job: Job, task: asyncio.Task[FinishReason]) -> None:
        """Finish a job whose task is done, whichever way."""
        if task.cancelled():
            self._finish(job, job.ended or "error", None if job.ended else "the engine was stopped")
            return
        error = task.exception()
        if error is None:
            self._finish(job, task.result())
            return
        known = isinstance(error, ShoptalkError)  # its message holds nothing of the request's text
        where = str(error) if known else traceback.format_tb(error.__traceback__)[-1].strip()
        log.error("generation failed", error=type(error).__name__, where=where)
        self._recheck.set()
        away = isinstance(error, EngineUnavailable)
        self._finish(job, "error", EngineUnavailable().message if away else "the model could not answer this")

    def _finish(self, job: Job, reason: FinishReason, problem: str | None = None) -> None:
        """Emit a job's end, release its adapter and start the next one."""
        try:
            job.finish(reason, problem)
        finally:
            with self._lock:
                self._jobs.discard(job)
                if job.seconds:
                    self._seconds[job.lane] += NEWEST_WEIGHT * (job.seconds - self._seconds[job.lane])
            self._residents.release(job.request.adapter)
            self._dispatch()

    async def _end_all(self) -> None:
        """End all jobs, so that nothing waits for the engine."""
        for job in list(self._jobs):
            if job.task is not None:
                job.task.cancel()
            else:
                self._finish(job, "error", "the engine was stopped")
        while tasks := [job.task for job in self._jobs if job.task is not None]:
            await asyncio.wait(tasks)
            await asyncio.sleep(0)  # so that their callbacks run

    async def _unload_all(self) -> None:
        """Unload our adapters from the server if it answers; otherwise the next start does."""
        with contextlib.suppress(TimeoutError, ShoptalkError, OSError):
            async with asyncio.timeout(UNLOAD_S):
                await self._residents.unload_all()

    async def _watch(self) -> None:
        """Check the server's health: regularly, at once after a failed reply, with backoff while it is away."""
        failures = 0
        while True:
            pause = CHECK_S if self._up else backoff(failures)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await (self._recheck.wait() if self._up else asyncio.sleep(pause))
            self._recheck.clear()
            try:
                await self._client.check_health()
                if not self._up:  # it may be another server now
                    self._server = await examine(self._client, self._base, self._limits.max_context)
                await self._residents.reconcile()
            except (ShoptalkError, OSError) as error:  # OSError: the shared folder
                failures += 1
                if self._up or failures % 20 == 0:
                    log.error("vLLM is not usable", problem=str(error))
                self._up = False
            else:
                if not self._up:
                    log.info("vLLM is back", version=self._server.version if self._server else "")
                self._up, failures = True, 0


def backoff(failures: int) -> float:
    """Return the seconds to wait after `failures` in a row: exponential with jitter, at most half a minute.

    The jitter takes up to a half away.
    """
    return min(LONGEST_S, SHORTEST_S * 2.0 ** min(failures - 1, 10)) * random.uniform(0.5, 1.0)
