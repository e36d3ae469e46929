"""The rules of the design, checked in the source: layers, heavy libraries, clocks, SQL, and the owners of tables."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STAGES = frozenset({"chatbot", "ingest", "labeling", "training", "monitoring"})
PACKAGES = STAGES | {"shoptalk"}
ABOVE = ("shoptalk.app", "shoptalk.cli", "shoptalk.demo")  # above the stages; the rest of shoptalk is below them
STORE_OWNERS = {"chat": "chatbot", "ingest": "ingest", "labeling": "labeling", "training": "training",
                "monitoring": "monitoring"}  # fmt: skip
HEAVY: Mapping[str, tuple[str, ...]] = {  # library -> the modules or packages that may name it
    "torch": ("shoptalk.models.basemodel", "chatbot.engine", "training", "ingest.features"),
    "transformers": ("shoptalk.models.basemodel", "chatbot.engine", "training", "ingest.features"),
    "peft": ("training",),
    "trl": ("training",),
    "datasets": ("training", "ingest.formats.hub"),
    "presidio_analyzer": ("ingest.scrub",),
    "spacy": ("ingest.scrub",),
    "evidently": ("monitoring.reports",),
    "label_studio_sdk": ("labeling.label_studio.client",),
    "dbos": ("shoptalk.rounds.workflow",),
    "datasketch": ("shoptalk.minhash",),
    "sklearn": ("ingest.features.topics",),
    "py3langid": ("ingest.features.language",),
}
EAGER = frozenset(
    {"chatbot.engine", "shoptalk.rounds.workflow", "labeling.label_studio.client", "ingest.scrub", "training.lora"}
)  # imported only when used
STATEMENTS = frozenset({"select", "insert", "update", "delete", "text", "exists", "join", "union"})
WRITES = frozenset({"insert", "update", "delete", "upsert", "insert_new", "swap_body"})
# totals and positions, of which each stage keeps its own
ALL_WRITE = frozenset({"shoptalk.store.counters", "shoptalk.store.cursors"})
# somebody asks for a round, the worker records the round that took it
TWO_WRITERS = {"triggers": {"shoptalk.store.rounds", "shoptalk.store.triggers"}}


@dataclass(frozen=True)
class Import:
    """An import of `name` in `module`. It is `lazy` inside a function or under TYPE_CHECKING."""

    module: str
    name: str
    line: int
    lazy: bool

    def __str__(self) -> str:
        return f"{self.module}:{self.line} imports {self.name}"


@cache
def modules() -> dict[str, ast.Module]:
    """Return every module of the distribution, parsed."""
    found = {}
    for package in sorted(PACKAGES):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            if ".migrations" not in name:
                found[name] = ast.parse(path.read_text(), str(path))
    return found


@cache
def imports() -> tuple[Import, ...]:
    return tuple(item for name, tree in modules().items() for item in _imports(name, tree, False))


def _imports(module: str, node: ast.AST, lazy: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(module, alias.name, child.lineno, lazy) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"{module}:{child.lineno}: relative import"
            base = child.module or ""
            for alias in child.names:
                name = f"{base}.{alias.name}"
                yield Import(module, name if name in modules() else base, child.lineno, lazy)
        else:
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or _type_checking(child)
            yield from _imports(module, child, lazy or inside)


def _type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _top(name: str) -> str:
    return name.partition(".")[0]


def _within(module: str, places: tuple[str, ...]) -> bool:
    return any(module == place or module.startswith(place + ".") for place in places)


def layer(name: str) -> str:
    """Return a module's layer: kernel, stages, app, cli or demo."""
    if _top(name) in STAGES:
        return "stages"
    return next((above.rpartition(".")[2] for above in ABOVE if _within(name, (above,))), "kernel")


MAY_IMPORT = {  # layer -> the layers it may import, besides itself
    "kernel": set(),
    "stages": {"kernel"},
    "app": {"kernel", "stages"},
    "cli": {"kernel", "app", "demo"},
    "demo": {"kernel", "stages", "app"},
}


def test_a_layer_imports_only_those_below_it() -> None:
    own = [i for i in imports() if _top(i.name) in PACKAGES]
    wrong = [i for i in own if layer(i.name) not in MAY_IMPORT[layer(i.module)] | {layer(i.module)}]
    assert [str(i) for i in wrong] == []


def test_a_stage_imports_no_other_stage() -> None:
    wrong = [i for i in imports() if _top(i.module) in STAGES and _top(i.name) in STAGES - {_top(i.module)}]
    assert [str(i) for i in wrong] == []


def test_the_composition_root_imports_stages_when_it_builds_them() -> None:
    early = [i for i in imports() if layer(i.module) == "app" and layer(i.name) == "stages" and not i.lazy]
    assert [str(i) for i in early] == []


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_folders_beside_each_other_do_not_import_in_a_circle(package: str) -> None:
    """A folder's own modules and its sub-folders may import each other. Of two sibling folders only one may."""
    graph: dict[str, set[str]] = {}
    for item in (i for i in imports() if _top(i.module) == _top(i.name) == package and i.name in modules()):
        for here, there in _diverging_folders(item.module, item.name):
            graph.setdefault(here, set()).add(there)
    assert _cycles(graph) == []


def _diverging_folders(module: str, name: str) -> Iterator[tuple[str, str]]:
    """Yield the two sibling folders at which the paths of two modules diverge, where both are folders."""
    a, b = module.split("."), name.split(".")
    at = next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), None)
    if at is not None and len(a) > at + 1 and len(b) > at + 1:
        yield ".".join(a[: at + 1]), ".".join(b[: at + 1])


def test_heavy_libraries_stay_behind_their_modules() -> None:
    wrong = [i for i in imports() if (places := HEAVY.get(_top(i.name))) and not _within(i.module, places)]
    assert [str(i) for i in wrong] == []


def test_heavy_libraries_are_imported_when_used() -> None:
    """Modules that need them throughout are exempt; these are themselves imported only when used."""
    early = [i for i in imports() if _top(i.name) in HEAVY and not i.lazy and not _within(i.module, tuple(EAGER))]
    assert [str(i) for i in early] == []


def test_no_module_takes_part_in_an_import_cycle() -> None:
    graph: dict[str, set[str]] = {name: set() for name in modules()}
    for item in imports():
        if not item.lazy and item.name in graph and item.name != item.module:
            graph[item.module].add(item.name)
    assert _cycles(graph) == []


def _cycles(graph: Mapping[str, set[str]]) -> list[str]:
    state: dict[str, int] = {}
    found = []

    def visit(name: str, path: tuple[str, ...]) -> None:
        state[name] = 1
        for other in sorted(graph.get(name, ())):
            if state.get(other) == 1:
                found.append(" -> ".join((*path[path.index(other) :], other)))
            elif other not in state:
                visit(other, (*path, other))
        state[name] = 2

    for name in graph:
        if name not in state:
            visit(name, (name,))
    return found


CLOCKS = re.compile(
    r"(datetime\.)?(datetime|date)\.(now|utcnow|today)|time\.(time|time_ns|sleep|monotonic|monotonic_ns)"
)
READS_THE_CLOCK = frozenset({"shoptalk.clock", "labeling.label_studio.supervisor"})  # the latter runs as a script


def test_time_comes_from_the_clocks_only() -> None:
    wrong = [
        f"{name}:{node.lineno} reads {ast.unparse(node)}"
        for name, tree in modules().items()
        if name not in READS_THE_CLOCK
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and CLOCKS.fullmatch(ast.unparse(node))
    ]
    assert wrong == []
    assert [str(i) for i in imports() if i.name == "time" and _from_time(i)] == []


def _from_time(item: Import) -> bool:
    """Return whether an import takes a function from `time` by name."""
    return any(
        isinstance(n, ast.ImportFrom) and n.module == "time" and n.lineno == item.line
        for n in ast.walk(modules()[item.module])
    )


def test_sql_is_written_in_the_store_only() -> None:
    wrong = []
    for name, tree in modules().items():
        if name.startswith("shoptalk.store"):
            continue
        for call in (n for n in ast.walk(tree) if isinstance(n, ast.Call)):
            if not (isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name)):
                continue
            if call.func.value.id in ("sa", "sqlalchemy") and call.func.attr in STATEMENTS and not _select_one(call):
                wrong.append(f"{name}:{call.lineno} builds {call.func.attr}")
    wrong += [
        str(i)
        for i in imports()
        if _top(i.name) == "sqlalchemy"
        and not i.module.startswith("shoptalk.store")
        and i.name not in ("sqlalchemy", "sqlalchemy.exc")
    ]
    assert wrong == []


def _select_one(call: ast.Call) -> bool:
    """Return whether a call only checks that the database answers."""
    return [ast.literal_eval(a) for a in call.args if isinstance(a, ast.Constant)] == ["select 1"]


@pytest.mark.parametrize(
    "module",
    ["shoptalk.cli.main", "shoptalk.app.api", "chatbot.api.app", "shoptalk.app.worker", "shoptalk.processes.worker"],
)
def test_importing_loads_nothing_heavy_and_reads_no_settings(module: str, tmp_path: Path) -> None:
    allowed = {"dbos"} if module == "shoptalk.processes.worker" else set()
    code = f"import sys, {module}; print(*sorted(set({sorted(HEAVY)!r}) & set(sys.modules)))"
    bogus = {"SHOPTALK_PORT": "none", "SHOPTALK_ENGINE": "none", "SHOPTALK_DATABASE_URL": "nonsense://"}
    plain = {k: v for k, v in os.environ.items() if not k.startswith("SHOPTALK_")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**plain, **bogus, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr[-800:]) == (0, "")
    assert set(done.stdout.split()) <= allowed
    assert list(tmp_path.iterdir()) == []


@dataclass(frozen=True)
class StoreModule:
    """A module of the store: its owner, the functions that write, and the tables they write to."""

    owner: str
    writers: frozenset[str]
    tables: frozenset[str]


@cache
def store_modules() -> dict[str, StoreModule]:
    """Return the store's modules by their full names."""
    found = {}
    for name, tree in modules().items():
        if not name.startswith("shoptalk.store.") or name in ("shoptalk.store.database", "shoptalk.store.schema"):
            continue
        aliases = {
            alias.asname or alias.name: alias.name
            for node in tree.body
            if isinstance(node, ast.ImportFrom) and node.module == "shoptalk.store.schema"
            for alias in node.names
        }
        writers, tables = set(), set()
        for function in (n for n in tree.body if isinstance(n, ast.FunctionDef)):
            written = {aliases.get(t, t) for t in _written(function)}
            if written:
                writers.add(function.name)
                tables |= written
        found[name] = StoreModule(_owner(name, tree), frozenset(writers), frozenset(tables))
    return found


def _owner(name: str, tree: ast.Module) -> str:
    """Return the stage that owns a store module: that of its folder, else the one named in OWNER."""
    folder = name.removeprefix("shoptalk.store.").partition(".")[0]
    named = (
        ast.literal_eval(n.value)
        for n in tree.body
        if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name) and n.target.id == "OWNER" and n.value
    )
    return STORE_OWNERS.get(folder) or next(named, "")


def _written(function: ast.FunctionDef) -> set[str]:
    """Return the names of the tables that a function writes to."""
    found = set()
    for call in (n for n in ast.walk(function) if isinstance(n, ast.Call)):
        if isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) == "sa" and call.func.attr in WRITES:
            found.add(ast.unparse(call.args[0]))
        elif isinstance(call.func, ast.Name) and call.func.id in WRITES:
            found.add(ast.unparse(call.args[1]).partition(".")[0])  # a table, or a column of it
    return found


def test_every_store_module_that_writes_has_an_owner() -> None:
    writers = {name: found for name, found in store_modules().items() if found.tables}
    assert {name: found.owner for name, found in writers.items() if found.owner not in PACKAGES} == {}


def test_each_table_is_written_by_one_module() -> None:
    writers: dict[str, set[str]] = {}
    for name, found in store_modules().items():
        for table in found.tables:
            writers.setdefault(table, set()).add(name)
    assert set(writers) <= _table_names()
    assert {table: names for table, names in writers.items() if len(names) > 1} == TWO_WRITERS


def _table_names() -> set[str]:
    tree = modules()["shoptalk.store.schema"]
    return {t.id for n in tree.body if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Name)}


def test_only_the_owner_writes() -> None:
    """The composition root may refer to a writer too, to pass it on."""
    wrong = []
    for name, tree in modules().items():
        known = _imported_store_modules(tree)
        for node in (n for n in ast.walk(tree) if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name)):
            written = known.get(node.value.id, "")  # type: ignore[attr-defined]
            found = None if written in ALL_WRITE else store_modules().get(written)
            mine = store_modules()[name].owner if name in store_modules() else _top(name)
            allowed = layer(name) in ("app", "demo") or found is None or mine == found.owner
            if found is not None and node.attr in found.writers and not allowed:
                wrong.append(f"{name}:{node.lineno} writes through {ast.unparse(node)}, owned by {found.owner}")
        wrong += _imported_writers(name, tree)
    assert wrong == []


def _imported_store_modules(tree: ast.Module) -> dict[str, str]:
    return {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and _within(node.module or "", ("shoptalk.store",))
        for alias in node.names
    }


def _imported_writers(name: str, tree: ast.Module) -> list[str]:
    """Return imports of writers by name, which would hide their owner."""
    return [
        f"{name}:{node.lineno} takes {alias.name} out of {node.module}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("shoptalk.store.")
        for alias in node.names
        if (found := store_modules().get(node.module or "")) and alias.name in found.writers
    ]


def test_every_module_says_what_it_is_for() -> None:
    assert [name for name, tree in modules().items() if tree.body and not ast.get_docstring(tree)] == []
