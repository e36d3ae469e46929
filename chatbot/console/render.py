"""Rendering of templates into responses that browsers may neither frame nor extend nor guess about.

Jinja escapes everything that is shown; the policy forbids inline script and style, and any other host. Knows no rows.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from chatbot.console import words

POLICY = (
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    # not 'no-referrer': browsers would then send forms with 'Origin: null', which looks like another site's
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


def page(template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """Return a page, or a fragment of one."""
    return HTMLResponse(_environment().get_template(template).render(values), status, HEADERS)


@cache
def _environment() -> Environment:
    env = Environment(
        loader=PackageLoader("chatbot.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters.update(
        ago=words.ago, exact=words.exact, number=words.number, plain=words.plain, short=words.short, size=words.size,
        small=words.small,
    )  # fmt: skip
    return env
