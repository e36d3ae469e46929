"""Draws a run of bench.serving: throughput by concurrency, time to first token, and goodput by arrival rate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

COLOURS = {"shoptalk": "#0b6e4f", "transformers": "#8a8a8a", "vllm": "#c1440e"}


def draw(found: dict[str, Any], path: Path) -> None:
    """Write a PNG, SVG or PDF, by the file's suffix."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [r for r in found["closed"] if r["skew"] == "uniform" and r["adapters"] in (0, 4)]
    figure, axes = pyplot.subplots(1, 3 if found["poisson"] else 2, figsize=(14, 4.2))
    for (server, adapters), points in _lines(rows, "concurrency").items():
        style = {"color": COLOURS[server], "linestyle": "-" if adapters else "--", "marker": "o"}
        label = f"{server}, {adapters} adapters" if adapters else f"{server}, base model"
        x = [r["concurrency"] for r in points]
        axes[0].plot(x, [r["tokens_per_s"] for r in points], label=label, **style)
        axes[1].plot(x, [r["ttft_p50_ms"] for r in points], label=label, **style)
    axes[0].set(title="tokens a second", xlabel="concurrent requests", ylim=(0, None))
    axes[1].set(title="time to first token, median, ms", xlabel="concurrent requests", yscale="log")
    axes[0].legend(fontsize=8)
    if found["poisson"]:
        for (server, _), points in _lines(found["poisson"], "rate").items():
            x = [r["rate"] for r in points]
            axes[2].plot(x, [r["goodput_per_s"] for r in points], label=server, color=COLOURS[server], marker="o")
        axes[2].plot(x, x, color="#cccccc", linewidth=1, label="all of them")
        axes[2].set(title="good requests a second", xlabel="arriving a second (Poisson, 4 adapters)", ylim=(0, None))
        axes[2].legend(fontsize=8)
    for axis in axes:
        axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def _lines(rows: list[dict[str, Any]], by: str) -> dict[tuple[str, int], list[dict[str, Any]]]:
    lines: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda r: r[by]):
        lines.setdefault((row["server"], row["adapters"]), []).append(row)
    return lines
