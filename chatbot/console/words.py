"""Times, counts and ids as people read them: the templates' filters. Pure; knows no HTML."""

from __future__ import annotations

from datetime import datetime

STEPS = ((60.0, 1.0, "s"), (3600.0, 60.0, "min"), (86400.0, 3600.0, "h"))


def ago(when: datetime, at: datetime) -> str:
    """Return a past time relative to `at`: '12 s ago', '3 h ago', '5 days ago'."""
    seconds = (at - when).total_seconds()
    if seconds < 1:
        return "just now"
    for limit, unit, name in STEPS:
        if seconds < limit:
            return f"{int(seconds // unit)} {name} ago"
    days = int(seconds // 86400)
    return f"{days} day{'' if days == 1 else 's'} ago"


def exact(when: datetime) -> str:
    """Return a time for titles: '2026-01-31 14:05:09 UTC'."""
    return when.strftime("%Y-%m-%d %H:%M:%S UTC")


def number(value: float) -> str:
    """Return a number with few digits: '12,345', '0.813', '2.5'."""
    if float(value).is_integer():
        return f"{int(value):,}"
    return f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def small(value: float) -> str:
    """Return a p-value: '0.34', '0.0021', '3e-07'."""
    if value >= 0.001:
        return f"{value:.2g}"
    return "0" if value == 0 else f"{value:.0e}"


def size(count: int) -> str:
    """Return a number of bytes: '1.8 MB'."""
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} GB"


def plain(name: str) -> str:
    """Return a name as words: 'rolled_back' as 'rolled back', 'ORDER_ID' as 'order id'."""
    return name.replace("_", " ").lower()


def short(id: str) -> str:
    """Return an id's kind and first digits, enough to distinguish it from its neighbours."""
    kind, _, rest = id.partition("_")
    return f"{kind}_{rest[:8]}" if len(rest) > 12 else id
