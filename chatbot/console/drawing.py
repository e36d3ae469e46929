"""The geometry of the console's small drawings. Pure; the template turns it into SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT, MARGIN = 600, 120, 8
SMALLEST = 1e-12  # p-values below are drawn there


@dataclass(frozen=True, slots=True)
class Bar:
    """One row of a bar table; `share` is relative to the longest."""

    name: str
    count: int
    share: float


@dataclass(frozen=True, slots=True)
class Point:
    """A check in the drawing; `below` where it is under the trigger."""

    x: float
    y: float
    below: bool
    value: float


@dataclass(frozen=True, slots=True)
class Sparkline:
    """P-values over time on a log scale, from 1 at the top down to `lowest`."""

    points: tuple[Point, ...]
    trigger_y: float
    lowest: float
    width: int = WIDTH
    height: int = HEIGHT

    @property
    def path(self) -> str:
        """Return the points as SVG's `points`."""
        return " ".join(f"{p.x:.1f},{p.y:.1f}" for p in self.points)


def bars(counts: Mapping[str, int]) -> list[Bar]:
    """Return bars, the longest first."""
    top = max(counts.values(), default=0) or 1
    return [Bar(name, n, n / top) for name, n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]


def sparkline(values: Sequence[float], trigger: float) -> Sparkline:
    """Return the drawing of p-values, which are given oldest first."""
    logs = [math.log10(min(1.0, max(SMALLEST, v))) for v in values]
    line = math.log10(min(1.0, max(SMALLEST, trigger)))
    lowest = math.floor(min([line, *logs]) - 0.25)
    step = (WIDTH - 2 * MARGIN) / max(1, len(logs) - 1)

    def y(log: float) -> float:
        return MARGIN + (HEIGHT - 2 * MARGIN) * log / lowest

    points = tuple(
        Point(MARGIN + i * step, y(log), value < trigger, value)
        for i, (log, value) in enumerate(zip(logs, values, strict=True))
    )
    return Sparkline(points, y(line), 10.0**lowest)
