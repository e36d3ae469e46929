"""Secures a self-contained HTML page: its data cannot become markup, and only its own scripts run.

A report quotes what customers wrote. It is saved and opened as a file, where no HTTP header protects it. So the
Content-Security-Policy is in the page, and names each of its scripts by hash. Knows nothing of reports.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Final

# characters that mean something to an HTML parser, or to a chart library that reads markup in its labels, or that end
# a line of JavaScript; each becomes one that looks like it, because some places would show an entity literally
HARMLESS: Final = str.maketrans({"<": "‹", ">": "›", "&": "＆", "\u2028": " ", "\u2029": " "})
IN_JSON: Final = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}
SCRIPT: Final = re.compile(r"<script>(.*?)</script>", re.DOTALL)
HEAD: Final = "<head>"


def harmless(text: str) -> str:
    """Return the text with look-alikes for all characters that could be read as markup anywhere in the page."""
    return text.translate(HARMLESS)


def secured(html: str, data: re.Pattern[str]) -> str:
    """Return the page with its JSON lines (which `data` matches) escaped, and a Content-Security-Policy in its head.

    Raises ValueError where the page has no such line, no head, or a script before it: then it is not the page that was
    expected.
    """
    html, lines = data.subn(lambda line: line[0].translate(IN_JSON), html.replace("\r\n", "\n").replace("\r", "\n"))
    head, found, rest = html.partition(HEAD)
    if not lines or not found or SCRIPT.search(head):
        raise ValueError("the page is not structured as expected")
    hashes = " ".join(f"'sha256-{_hash(script)}'" for script in SCRIPT.findall(rest))
    policy = (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; font-src data:; img-src data: blob:; "
        "form-action 'none'; base-uri 'none'"
    )
    return f'{head}{HEAD}\n<meta http-equiv="Content-Security-Policy" content="{policy}">{rest}'


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
