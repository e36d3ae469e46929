"""The site builds without a warning, and its pages load nothing from other hosts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
LOADED = {  # element -> the attributes by which it loads something
    "script": ("src",), "img": ("src", "srcset"), "iframe": ("src",), "source": ("src", "srcset"),
    "video": ("src", "poster"), "audio": ("src",),
    "embed": ("src",), "object": ("data",), "use": ("href", "xlink:href"), "image": ("href",),
}  # fmt: skip
HINTS = {"stylesheet", "icon", "preload", "prefetch", "preconnect", "dns-prefetch", "modulepreload", "manifest"}
CSS = re.compile(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)")


class Loads(HTMLParser):
    """Collects what a page loads, and whether it asks for diagrams, whose script would come from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "link" and HINTS & set(values.get("rel", "").split()):
            self.found.append(values.get("href", ""))
        self.found += [values[name] for name in LOADED.get(tag, ()) if name in values]
        self.found += [a or b for a, b in CSS.findall(values.get("style", ""))]
        if "mermaid" in values.get("class", "").split():
            self.found.append("//mermaid")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    subprocess.run(command, check=True, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"})
    return folder


def test_pages_load_nothing_from_other_hosts(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 80
    for page in pages:
        loads = Loads()
        loads.feed(page.read_text())
        assert [found for found in loads.found if _is_elsewhere(found)] == [], page.relative_to(site)


def test_styles_load_nothing_from_other_hosts(site: Path) -> None:
    styles = [*site.rglob("*.css"), *site.rglob("*.html")]
    inner = re.compile(r"<style[^>]*>(.*?)</style>", re.DOTALL)
    for path in styles:
        text = path.read_text()
        parts = [text] if path.suffix == ".css" else inner.findall(text)
        found = [a or b for part in parts for a, b in CSS.findall(part)]
        assert [each for each in found if _is_elsewhere(each)] == [], path.relative_to(site)


def test_images_are_small() -> None:
    images = [path for path in (ROOT / "docs" / "images").iterdir() if path.suffix == ".png"]
    assert images
    assert [path.name for path in images if path.stat().st_size > 150_000] == []


def _is_elsewhere(url: str) -> bool:
    return url.startswith("//") or (":" in url.split("/", maxsplit=1)[0] and not url.startswith("data:"))
