"""A worker's metrics for Prometheus, on a port of its own: what each lane does, and how much waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import structlog
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from shoptalk.processes.lanes import LaneState

log = structlog.get_logger(__name__)


class WorkerMetrics(Collector):
    """Reads lanes and queues at each scrape; no label ever holds text or an id."""

    def __init__(self, states: Callable[[], Sequence[LaneState]], waiting: Callable[[], Mapping[str, int]]) -> None:
        self._states, self._waiting = states, waiting

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the metrics as they are now; what waits is left out while the database is away."""
        idle = GaugeMetricFamily(
            "shoptalk_lane_idle_seconds", "Since the lane last ended a piece of work.", labels=["lane"]
        )
        running = GaugeMetricFamily(
            "shoptalk_lane_running_seconds", "How long the present piece has run; 0 between them.", labels=["lane"]
        )
        hangs = GaugeMetricFamily("shoptalk_lane_hangs", "1 where a piece takes too long.", labels=["lane"])
        failing = GaugeMetricFamily("shoptalk_lane_failing", "Pieces of work that fail now.", labels=["lane"])
        for state in self._states():
            idle.add_metric([state.name], state.idle_s)
            running.add_metric([state.name], state.running_s)
            hangs.add_metric([state.name], float(state.hangs))
            failing.add_metric([state.name], len(state.problems))
        yield from (idle, running, hangs, failing)
        try:
            counts = self._waiting()
        except SQLAlchemyError:  # the lanes say so themselves
            return
        waits = GaugeMetricFamily("shoptalk_waiting", "How much waits for the workers; up to 10,000.", labels=["what"])
        for what, count in counts.items():
            waits.add_metric([what], count)
        yield waits


def serve(metrics: WorkerMetrics, host: str, port: int) -> Callable[[], None]:
    """Answer scrapes in a thread; return what ends that. Where the port is taken, log it and serve none."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(metrics)
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:  # as another worker's of this host
        log.warning("no metrics served", host=host, port=port, problem=error.strerror or type(error).__name__)
        return lambda: None

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop
