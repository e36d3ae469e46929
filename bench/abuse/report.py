"""The metrics of one phase of the abuse benchmark, and the table of all phases."""

from __future__ import annotations

from collections import Counter

from bench.abuse.clients import Client, Json
from bench.client import percentile

AT_ONCE_S = 1.0  # a refusal within this time counts as immediate


def _ms(values: list[float], share: float) -> float:
    return round(1000 * percentile(values, share), 1)


def keys_metrics(clients: list[Client]) -> Json:
    """Return how the clients with keys were served."""
    outcomes = [o for c in clients for o in c.outcomes]
    first = [o.first for o in outcomes if o.first]
    statuses = Counter(str(o.status) for o in outcomes)
    return {
        "keys_requests": len(outcomes),
        "keys_refused": len(outcomes) - statuses["200"],
        "keys_statuses": dict(statuses),
        "keys_first_p50_ms": _ms(first, 0.5),
        "keys_first_p95_ms": _ms(first, 0.95),
    }


def visitors_metrics(guests: list[Client], attackers: list[Client]) -> Json:
    """Return how the honest visitors were served.

    `visitors_share` is the text that the worst served of them got, divided by the mean over all visitors, attackers
    included.
    """
    outcomes = [o for c in guests for o in c.outcomes]
    refusals = [o for o in outcomes if o.status == 429]
    equal = sum(c.pieces for c in [*guests, *attackers]) / max(1, len(guests) + len(attackers))
    return {
        "visitors_requests": len(outcomes),
        "visitors_served": sum(len(c.served) for c in guests),
        "visitors_first_p50_ms": _ms([o.first for o in outcomes if o.first], 0.5),
        "visitors_first_p95_ms": _ms([o.first for o in outcomes if o.first], 0.95),
        "visitors_share": round(min(c.pieces / equal for c in guests), 2) if equal else None,
        "visitors_refused": len(refusals),
        "visitors_refused_late": sum(o.head > AT_ONCE_S or not o.retry_after for o in refusals),
        "visitors_refused_p95_ms": _ms([o.head for o in refusals], 0.95),
        "visitors_timed_out": sum(not o.status for o in outcomes),
        "visitors_statuses": dict(Counter(str(o.status) for o in outcomes)),
    }


def table(result: Json) -> str:
    """Return the result as a Markdown table with a column for each phase."""
    phases = result["phases"]
    lines = ["| | " + " | ".join(phases) + " |", "|---" * (len(phases) + 1) + "|"]
    lines += [
        f"| {name} | " + " | ".join(str(row[name]) for row in phases.values()) + " |"
        for name in next(iter(phases.values()))
    ]
    lines.append("| keys_first_p95 to rest | " + " | ".join(str(result["ratios"][p]) for p in phases) + " |")
    return "\n".join(lines)
