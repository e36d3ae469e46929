"""What documents name exists: paths, commands, settings, links, functions. And their words are everybody's."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest
import typer.main

from shoptalk.cli.main import app
from shoptalk.settings import Settings

ROOT = Path(__file__).parents[2]
LOG = ROOT / "docs" / "log.md"  # of experiments: what it names may be gone
PAGES = sorted(
    path
    for path in (
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *ROOT.glob("docker/*.md"),
        *ROOT.glob("bench/*.md"),
    )
    if path != LOG
)
WRITTEN = [path for path in PAGES if "reference" not in path.parts]
NAMES = [str(path.relative_to(ROOT)) for path in PAGES]
WORDS = re.compile(
    r"\b(mend(s|ed|ing)?|(is |are |be )?told|written small|whom|thereby|hitherto|whence|thereof|anew|so many|of ours"
    r"|lately|by and by)\b",
    re.IGNORECASE,
)
SPAN = re.compile(r"`([^`]+)`")  # may go over a line's end
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
FOLDERS = ("shoptalk", "chatbot", "ingest", "labeling", "training", "monitoring", "tests", "scripts", "docs", "docker",
           "bench", ".ci")  # fmt: skip
MADE = re.compile(r"docker/\.env$")  # by whoever runs it
COMMAND = re.compile(r"(?:\w+=\S* )*(?:\.venv/bin/)?shoptalk ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?(?!\w)")
VARIABLE = re.compile(r"\bSHOPTALK_[A-Z0-9_]*[A-Z0-9]")
JOURNEY = re.compile(r"· `([\w/]+\.py)` · `(\w+)`")


@pytest.fixture(params=PAGES, ids=NAMES)
def page(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def test_words(page: Path) -> None:
    assert [found[0] for found in WORDS.finditer(page.read_text())] == []


def test_settings_and_help_use_the_same_words() -> None:
    texts = [field.description or "" for field in Settings.model_fields.values()]
    texts += [text for command in _commands().values() for text in _help(command)]
    assert [text for text in texts if WORDS.search(text)] == []


def test_paths_exist(page: Path) -> None:
    named = [word for span in SPAN.findall(FENCE.sub("", page.read_text())) for word in span.split()]
    paths = [word.rstrip(".,:;") for word in named if word.startswith(tuple(f"{folder}/" for folder in FOLDERS))]
    gone = [path for path in paths if "<" not in path and not MADE.match(path) and not list(ROOT.glob(path))]
    assert gone == []


def test_commands_exist(page: Path) -> None:
    text, known = page.read_text(), _commands()
    lines = [line.strip() for block in FENCE.findall(text) for line in block.splitlines()]
    spans = [" ".join(span.split()) for span in SPAN.findall(FENCE.sub("", text))]
    for found in filter(None, map(COMMAND.match, [*lines, *spans])):
        first, second = found.groups()
        assert first in known, found[0]
        below = getattr(known[first], "commands", None)
        assert not below or not second or second in below, found[0]


def test_settings_exist(page: Path) -> None:
    fields = {f"SHOPTALK_{name.upper()}" for name in Settings.model_fields}
    assert {name for name in VARIABLE.findall(page.read_text()) if name not in fields} == set()


def test_links_resolve(page: Path) -> None:
    for link in LINK.findall(FENCE.sub("", page.read_text())):
        if link.startswith(("http:", "https:", "mailto:")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.is_file(), link
        assert not anchor or anchor in _anchors(target), link


def test_journeys_name_functions_that_exist() -> None:
    steps = JOURNEY.findall((ROOT / "docs" / "architecture.md").read_text())
    assert len(steps) > 25
    assert [(file, name) for file, name in steps if name not in _defined(file)] == []


def test_decisions_are_numbered_and_listed() -> None:
    folder = ROOT / "docs" / "decisions"
    records = sorted(path for path in folder.glob("*.md") if path.name != "index.md")
    index = (folder / "index.md").read_text()
    for number, path in enumerate(records, 1):
        title, _, facts, *_ = path.read_text().split("\n")
        assert path.name.startswith(f"{number:04d}-")
        assert title.startswith(f"# {number}. ")
        assert re.fullmatch(r"Date: \d{4}-\d\d-\d\d · Status: [a-z0-9 ]+ · Topic: .+", facts)
        assert f"]({path.name})" in index


def test_pages_do_not_name_this_machine() -> None:
    private = re.compile(r"(?<![\w.])/(work|tmp|root|home)/")
    assert [path.name for path in WRITTEN if private.search(path.read_text())] == []


@cache
def _commands() -> dict[str, object]:
    commands: dict[str, object] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    return commands


def _help(command: object) -> list[str]:
    mine = [getattr(command, "help", None), *(getattr(p, "help", None) for p in getattr(command, "params", ()))]
    below = [text for each in getattr(command, "commands", {}).values() for text in _help(each)]
    return [text for text in mine if text] + below


@cache
def _anchors(path: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", FENCE.sub("", path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head).strip().lower().replace(" ", "-") for head in heads}


@cache
def _defined(file: str) -> set[str]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {node.name for node in ast.walk(ast.parse((ROOT / file).read_text())) if isinstance(node, kinds)}
