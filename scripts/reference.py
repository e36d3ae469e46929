"""Write docs/reference/ from the code: settings, commands, HTTP, metrics, tables and modules.

Usage: python scripts/reference.py [FOLDER]   (default: docs/reference)
The same code gives the same pages. tests/docs/test_reference.py fails where a page is stale.
"""

from __future__ import annotations

import ast
import enum
import re
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from reference_http import http_page
from reference_tables import tables_page
from reference_text import KINDS, PACKAGES, ROOT, code, escaped, first_line, paragraphs, table

FOLDER = ROOT / "docs" / "reference"
GROUP = re.compile(r"^ *# (\w.*)$")
SETTINGS = """\
Every setting is an environment variable, or a line of `shoptalk.toml` in the working folder under its name without
`SHOPTALK_`, in lower case (`port = 8000`). The environment wins over the file. A wrong value stops the program at
its start with the variable's name and what it should be. A `SHOPTALK_` variable that sets nothing is reported as a
warning. Settings are read once, at the start of each process.

Lists are JSON in the environment (`SHOPTALK_ORDER_ID_PATTERNS='["T-[0-9]+"]'`) and TOML lists in the file.
Secrets may stay unset: the encryption key is then made once in `<home>/secret.key`, readable by its owner only.

All that shoptalk writes is readable by its own user only, whatever the umask it is started with; at a start, other
users' rights are taken from what an earlier version wrote in `<home>`. Where `<home>` holds other things too, its own
mode is left alone; `shoptalk doctor` says so, with the `chmod` that closes it. The first admin key is printed on a
terminal only; elsewhere it is in `<home>/first-admin-key`.
"""


# settings


def settings_page() -> str:
    """Return all settings, by the comments that group them in shoptalk/settings.py."""
    from shoptalk.settings import Settings

    text = f"# Settings\n\n{SETTINGS}"
    for group, names in _groups(ROOT / "shoptalk" / "settings.py", "Settings", set(Settings.model_fields)):
        rows = [_setting(name, Settings.model_fields[name]) for name in names]
        text += f"\n## {group[0].upper()}{group[1:]}\n\n{table(('Variable', 'Type', 'Default', 'Meaning'), rows)}"
    return text


def _groups(path: Path, cls: str, names: set[str]) -> Iterator[tuple[str, list[str]]]:
    """The class's fields, under the last comment line above them that starts a group."""
    source = path.read_text()
    body = next(n for n in ast.parse(source).body if isinstance(n, ast.ClassDef) and n.name == cls).body
    fields = {n.lineno: n.target.id for n in body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)}
    lines = source.splitlines()
    group, found = "", list[str]()
    for number in range(body[0].lineno, body[-1].lineno):
        heading = re.match(r"^    # (\w.*)$", lines[number - 1])
        if heading and not lines[number - 2].strip():  # a comment after a blank line starts a group
            if found:
                yield group, found
            group, found = heading[1], []
        elif fields.get(number) in names:
            found.append(fields[number])
    yield group, found


def _setting(name: str, field: Any) -> list[str]:
    return [
        code(f"SHOPTALK_{name.upper()}"),
        _type(field.annotation),
        _default(field.default),
        escaped(field.description or ""),
    ]


def _type(kind: Any) -> str:
    if typing.get_origin(kind) is typing.Literal:
        return " or ".join(code(choice) for choice in typing.get_args(kind))
    if isinstance(kind, types.UnionType):
        return _type(typing.get_args(kind)[0])
    if typing.get_origin(kind) is list:
        return "JSON list"
    return KINDS.get(kind.__name__, "secret")


def _default(value: object) -> str:
    if value is None or value == "":
        return ""
    return code(int(value) if isinstance(value, float) and value.is_integer() else value)


# commands


def commands_page() -> str:
    """Return every command with its arguments and options."""
    import typer.main

    from shoptalk.cli.main import app

    text = (
        "# Command line\n\n"
        "`shoptalk --help` and `--help` after any command print the same. Errors are one line, "
        "with `fix:` on a second one where there is a fix, and exit status 2; "
        "other exit statuses are named where a command has them. `--json` prints JSON for programs.\n"
    )
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        text += f"\n## shoptalk {name}\n\n{escaped(command.help or '')}\n"
        if not hasattr(command, "commands"):
            text += _parameters(command)
            continue
        for sub, inner in command.commands.items():
            text += f"\n### shoptalk {name} {sub}\n\n{paragraphs(inner.help)}\n{_parameters(inner)}"
    return text


def _parameters(command: Any) -> str:
    rows = [_parameter(p) for p in command.params if p.name != "help"]
    return f"\n{table(('Argument', 'Values', 'Default', 'Meaning'), rows)}" if rows else ""


def _parameter(param: Any) -> list[str]:
    name = (
        param.name.upper() if param.param_type_name == "argument" else ", ".join([*param.opts, *param.secondary_opts])
    )
    default = "required" if param.required else _plain_default(param.default)
    return [code(name), _values(param.type_descriptor.annotation), default, escaped(param.help or "")]


def _values(kind: Any) -> str:
    """Return what a parameter takes; nothing for a flag."""
    kinds = [k for k in typing.get_args(kind) if k is not type(None)]
    if typing.get_origin(kind) is typing.Literal:
        return code(*typing.get_args(kind))
    if kinds:  # optional, or a list
        return _values(kinds[0])
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return code(*(choice.value for choice in kind))
    return "" if kind is bool else KINDS[kind.__name__]


def _plain_default(value: Any) -> str:
    return "" if value is None or value is False or value == "" else code(getattr(value, "value", value))


# metrics


def metrics_page() -> str:
    """Return what /metrics shows, with labels."""
    from chatbot.api.metrics import Metrics

    metrics = Metrics()
    labels = {m._name: m._labelnames for m in vars(metrics).values() if hasattr(m, "_labelnames")}
    rows = []
    for family in metrics.registry.collect():
        name = family.name + ("_total" if family.type == "counter" else "")
        rows.append(
            [code(name), family.type, code(*labels[family.name]) if labels[family.name] else "", family.documentation]
        )
    head = ("Metric", "Type", "Labels", "Meaning")
    return (
        "# Metrics\n\n`GET /metrics` of each API process, in Prometheus' text format, without a key. "
        f"No label holds a text or an id of a customer.\n\n{table(head, rows)}\n"
        "A worker answers at 127.0.0.1, on the port `SHOPTALK_WORKER_PORT`; of several on one host, the first.\n\n"
        f"{table(head, _worker_metrics())}"
    )


def _worker_metrics() -> list[list[str]]:
    """Return a row for each metric of a worker."""
    from shoptalk.processes.lanes import LaneState
    from shoptalk.processes.worker_metrics import WorkerMetrics

    metrics = WorkerMetrics(lambda: [LaneState("intake", 0.0, None, 0.0, False)], lambda: {"inbox": 0})
    return [
        [code(family.name), family.type, code(*family.samples[0].labels), family.documentation]
        for family in metrics.collect()
    ]


# modules


def modules_page() -> str:
    """Return every module with the first line of its docstring, by folder."""
    text = "# Modules\n\nEvery module, by folder, in the words of its own first line.\n"
    for package in PACKAGES:
        for folder in sorted({path.parent for path in (ROOT / package).rglob("*.py")}):
            if "versions" in folder.parts:
                continue
            rows = [_module(path) for path in sorted(folder.glob("*.py")) if _documented(path)]
            if rows:
                text += f"\n## {folder.relative_to(ROOT)}/\n\n{table(('Module', 'Purpose'), rows)}"
    return text


def _documented(path: Path) -> bool:
    return path.name != "__init__.py" or bool(ast.get_docstring(ast.parse(path.read_text())))


def _module(path: Path) -> list[str]:
    return [code(path.name), first_line(ast.get_docstring(ast.parse(path.read_text())))]


PAGES: Mapping[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "cli.md": commands_page,
    "http.md": http_page,
    "metrics.md": metrics_page,
    "tables.md": tables_page,
    "modules.md": modules_page,
}


def main(folder: Path) -> None:
    """Write all pages."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (folder / name).write_text(page())


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
