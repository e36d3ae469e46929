"""Draws each machine of `shoptalk.moves` as docs/images/state-NAME.svg. Knows states and moves, not what they mean.

    python scripts/state_machines.py

States are boxes, final ones with a double border; a dot marks where a thing begins. States that several moves share as
their sources stand in a dashed frame: an arrow from the frame is a move from any of them. The same machine always gives
the same bytes, so that `tests/docs/test_state_machines.py` can compare them. Colours follow the reader's scheme.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

from shoptalk.moves import MACHINES, Machine, plain

IMAGES: Final = Path(__file__).parents[1] / "docs" / "images"
WIDTH, HEIGHT = 112, 40  # of a box
ACROSS, DOWN = 260, 88  # from one box to the next
LEFT, TOP = 120, 64  # to the first box's centre
PAD = 26  # between a frame and its boxes
APART = 9  # between the arrows of two opposite moves
HEAD: Final = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" \
role="img" aria-label="{label}">
<style>
  svg {{ --ink: #1f2328; --line: #59636e; --paper: #ffffff; --box: #f6f8fa; }}
  @media (prefers-color-scheme: dark) {{
    svg {{ --ink: #f0f6fc; --line: #9198a1; --paper: #0d1117; --box: #151b23; }}
  }}
  text {{ font: 14px system-ui, sans-serif; fill: var(--ink); text-anchor: middle; dominant-baseline: central; }}
  .move {{ font-size: 12px; stroke: var(--paper); stroke-width: 5px; paint-order: stroke; stroke-linejoin: round; }}
  .page {{ fill: var(--paper); }}
  .box {{ fill: var(--box); stroke: var(--line); stroke-width: 1.5px; }}
  .frame, .inner {{ fill: none; stroke: var(--line); }}
  .frame {{ stroke-dasharray: 5 4; }}
  .arrow {{ fill: none; stroke: var(--line); stroke-width: 1.5px; marker-end: url(#head); }}
  .head, .dot {{ fill: var(--line); }}
</style>
<marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">
  <path class="head" d="M 0 0 L 8 4 L 0 8 z"/>
</marker>
<rect class="page" width="{width}" height="{height}"/>
"""


@dataclass(frozen=True)
class Box:
    """A rectangle with its centre at (x, y)."""

    x: float
    y: float
    width: float = WIDTH
    height: float = HEIGHT

    def rect(self, kind: str, inset: float = 0) -> str:
        """Return it as an SVG element of a class."""
        x, y = self.x - self.width / 2 + inset, self.y - self.height / 2 + inset
        size = f'width="{_n(self.width - 2 * inset)}" height="{_n(self.height - 2 * inset)}"'
        return f'<rect class="{kind}" x="{_n(x)}" y="{_n(y)}" {size} rx="{8 - inset}"/>'

    def edge(self, towards: Box) -> tuple[float, float]:
        """Return where the line from its centre to another box's centre leaves it."""
        dx, dy = towards.x - self.x, towards.y - self.y
        reach = min(part / 2 / abs(d) if d else math.inf for part, d in ((self.width, dx), (self.height, dy)))
        return self.x + dx * reach, self.y + dy * reach


def draw(machine: Machine[Any]) -> str:
    """Return a machine as SVG."""
    boxes, frame = _layout(machine)
    parts = [frame.rect("frame")] if frame else []
    parts += _arrows(machine, boxes, frame)
    for state, box in boxes.items():
        parts.append(box.rect("box"))
        if state in machine.final:
            parts.append(box.rect("inner", 4))
        parts.append(_text(box.x, box.y, plain(state), ""))
    first = boxes[machine.initial]
    top = first.y - HEIGHT / 2
    parts.append(f'<circle class="dot" cx="{_n(first.x)}" cy="{_n(top - 34)}" r="5"/>')
    parts.append(_arrow(first.x, top - 29, first.x, top))
    width = int(max(box.x for box in boxes.values())) + WIDTH // 2 + 24
    height = int(max(box.y for box in boxes.values())) + HEIGHT // 2 + PAD + 14
    head = HEAD.format(width=width, height=height, label=f"States of a {escape(machine.noun)}")
    return head + "\n".join(parts) + "\n</svg>\n"


def _layout(machine: Machine[Any]) -> tuple[dict[Any, Box], Box | None]:
    """Return each state's box, in columns by the moves needed to reach it, and the frame around common sources."""
    shared = max((move.sources for move in machine.moves.values()), key=len)
    columns = _columns(machine, shared)
    rows = max(map(len, columns))
    boxes = {}
    for number, column in enumerate(columns):
        for row, state in enumerate(column):
            y = TOP + DOWN * (rows * (row + 0.5) / len(column) - 0.5)
            boxes[state] = Box(LEFT + number * ACROSS, y)
    if len(shared) == 1:
        return boxes, None
    inside = [boxes[state] for state in shared]
    low, high = min(box.y for box in inside), max(box.y for box in inside)
    return boxes, Box(inside[0].x, (low + high) / 2, WIDTH + 4 * PAD, high - low + HEIGHT + 2 * PAD)


def _columns(machine: Machine[Any], shared: tuple[Any, ...]) -> list[list[Any]]:
    columns = [list(dict.fromkeys((machine.initial, *shared)))]
    seen = set(columns[0])
    while columns[-1]:
        targets = [move.target for move in machine.moves.values() if set(move.sources) & set(columns[-1])]
        columns.append([state for state in dict.fromkeys(targets) if state not in seen])
        seen |= set(columns[-1])
    return columns[:-1]


def _arrows(machine: Machine[Any], boxes: dict[Any, Box], frame: Box | None) -> Iterator[str]:
    """Yield the moves; moves of the same sources and target share an arrow."""
    named: dict[tuple[Any, Any], list[str]] = {}
    for name, move in machine.moves.items():
        inside = frame is not None and len(move.sources) > 1 and _within(boxes[move.target], frame)
        whole = frame is not None and len(move.sources) > 1 and not inside
        for source in [None] if whole else move.sources:
            named.setdefault((source, move.target), []).append(plain(name))
    for (source, target), names in named.items():
        label = ", ".join(names)
        start, end = frame if source is None else boxes[source], boxes[target]
        assert start is not None
        if source == target:
            yield from _loop(end, label)
        else:
            yield from _line(start, end, label, opposite=(target, source) in named)


def _line(start: Box, end: Box, label: str, *, opposite: bool) -> Iterator[str]:
    """Yield a straight arrow with its label; one of two opposite arrows keeps to its right."""
    if start.width > WIDTH:  # a frame: from its side, level with the target where that is beside it
        level = min(max(end.y, start.y - start.height / 2 + PAD), start.y + start.height / 2 - PAD)
        start = Box(start.x, level, start.width, 0)
    (x1, y1), (x2, y2) = _side(start, end), _side(end, start)
    length = math.hypot(x2 - x1, y2 - y1)
    right = (-(y2 - y1) / length, (x2 - x1) / length)
    aside = APART if opposite else 0
    x1, y1, x2, y2 = x1 + right[0] * aside, y1 + right[1] * aside, x2 + right[0] * aside, y2 + right[1] * aside
    yield _arrow(x1, y1, x2, y2)
    across = abs(x2 - x1) > abs(y2 - y1)
    away = 10 if across else 20
    sign = 1 if opposite else -1
    yield _text((x1 + x2) / 2 + right[0] * away * sign, (y1 + y2) / 2 + right[1] * away * sign, label, "move")


def _side(box: Box, towards: Box) -> tuple[float, float]:
    """Return the middle of the side that faces another box: left or right, except within a column."""
    if box.x == towards.x:
        return box.edge(towards)
    return box.x + math.copysign(box.width / 2, towards.x - box.x), box.y


def _loop(box: Box, label: str) -> Iterator[str]:
    """Yield an arrow from a box's left side to itself."""
    x, y = box.x - WIDTH / 2, box.y
    yield f'<path class="arrow" d="M {_n(x)} {_n(y - 8)} c -30 -10 -30 26 0 16"/>'
    yield _text(x - 26, y - 19, label, "move")


def _within(box: Box, frame: Box) -> bool:
    return abs(box.x - frame.x) < frame.width / 2 and abs(box.y - frame.y) < frame.height / 2


def _arrow(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<path class="arrow" d="M {_n(x1)} {_n(y1)} L {_n(x2)} {_n(y2)}"/>'


def _text(x: float, y: float, text: str, kind: str) -> str:
    of_class = f' class="{kind}"' if kind else ""
    return f'<text{of_class} x="{_n(x)}" y="{_n(y)}">{escape(text)}</text>'


def _n(number: float) -> str:
    return f"{round(number, 1):g}"


def pictures() -> dict[Path, str]:
    """Return every picture's path and content."""
    return {IMAGES / f"state-{machine.noun}.svg": draw(machine) for machine in MACHINES}


if __name__ == "__main__":
    IMAGES.mkdir(parents=True, exist_ok=True)
    for path, svg in pictures().items():
        path.write_text(svg)
