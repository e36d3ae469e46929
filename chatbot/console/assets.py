"""The pages' stylesheet, scripts and icon. Only files named here are served; each is read once."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files

from fastapi import APIRouter, Request
from fastapi.responses import Response

from shoptalk.errors import NotFound

router = APIRouter()
SCRIPT = "text/javascript; charset=utf-8"
FILES = {  # address -> (file, media type)
    "style.css": ("style.css", "text/css; charset=utf-8"),
    "chat.js": ("chat.js", SCRIPT),
    "completion.js": ("completion.js", SCRIPT),
    "memory.js": ("memory.js", SCRIPT),
    "thumbs.js": ("thumbs.js", SCRIPT),
    "console.js": ("console.js", SCRIPT),
    "morph.js": ("morph.js", SCRIPT),
    "icon.svg": ("icon.xml", "image/svg+xml"),
}


@router.get("/static/{name}")
async def asset(request: Request, name: str) -> Response:
    """Return one file; browsers ask each time, and get 304 where theirs is still the newest."""
    if name not in FILES:
        raise NotFound("There is no such file.")
    content, tag = _read(FILES[name][0])
    headers = {"Cache-Control": "no-cache", "ETag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=FILES[name][1], headers=headers)


@cache
def _read(file: str) -> tuple[bytes, str]:
    content = (files("chatbot.console") / "static" / file).read_bytes()
    return content, f'"{hashlib.sha256(content).hexdigest()[:32]}"'
