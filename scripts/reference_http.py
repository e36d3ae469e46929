"""docs/reference/http.md, from the application's routes and its OpenAPI schema."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from reference_text import code, escaped, first_line, table

LIMITS = {
    "minLength": "at least {} characters", "maxLength": "at most {} characters",
    "minimum": "from {}", "maximum": "to {}", "exclusiveMinimum": "above {}", "exclusiveMaximum": "below {}",
    "minItems": "at least {} items", "maxItems": "at most {} items", "maxProperties": "at most {} entries",
}  # fmt: skip


def http_page() -> str:
    """Return routes with scope, parameters and answers, the scopes, and the errors."""
    from chatbot.api.openapi import MEANINGS

    app = _application()
    schema = app.openapi()
    scopes = _scopes(app)
    text = (
        "# HTTP\n\nA running API shows its routes at `/docs` and as an OpenAPI schema at `/openapi.json`, for whoever "
        "holds an API key. [Integrating](../integrating.md) shows them in use.\n"
    )
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            text += _operation(schema, path, method.upper(), operation, scopes.get((path, method.upper())))
    text += _parts(schema)
    text += "\n## Scopes\n\nA scope is a right of an API key; `admin` includes all.\n\n" + _scope_table(scopes)
    statuses = [[code(status), escaped(meaning)] for status, meaning in MEANINGS.items()]
    text += f"\n## Statuses of errors\n\n{table(('Status', 'Meaning'), statuses)}"
    return text + f"\n## Errors\n\n{_errors()}"


class _Nothing:
    """Stands for services: the application's routes are looked at, and none is called."""

    def __getattr__(self, name: str) -> Any:
        return None


def _application() -> Any:
    from chatbot.api.app import make_app
    from chatbot.console.pages import router
    from shoptalk.settings import Settings

    services = _Nothing()
    services.settings = Settings.model_construct(**{n: f.default for n, f in Settings.model_fields.items()})  # type: ignore[attr-defined]
    return make_app(typing.cast(Any, services), router)


def _scopes(app: Any) -> dict[tuple[str, str], str]:
    """(path, method) -> the scope that its route needs, as `chatbot.api.auth.require` was given it."""
    found = {}
    for route in _routes(app):
        for dependency in getattr(getattr(route, "dependant", None), "dependencies", ()):
            scope = inspect.getclosurevars(dependency.call).nonlocals.get("scope") if dependency.call else None
            if scope is not None:
                path = re.sub(r":\w+}", "}", route.path)
                found |= {(path, method): str(scope.value) for method in route.methods}
    return found


def _routes(router: Any) -> Iterator[Any]:
    """Yield a router's routes and those of the routers that it includes."""
    for route in router.routes:
        if hasattr(route, "original_router"):
            yield from _routes(route.original_router)
        else:
            yield route


def _scope_table(scopes: Mapping[tuple[str, str], str]) -> str:
    from shoptalk.domain import Scope

    rows = []
    for scope in Scope:
        mine = [f"{method} {path}" for (path, method), needed in scopes.items() if needed == scope.value]
        rows.append([code(scope.value), code(*mine) if mine else ""])
    return table(("Scope", "Routes"), rows)


def _operation(schema: Any, path: str, method: str, operation: Any, scope: str | None) -> str:
    text = f"\n## {method} {path}\n\n{escaped(inspect.cleandoc(operation.get('description', '')))}\n\n"
    text += f"Scope: {code(scope)}.\n" if scope else "No API key is needed.\n"
    rows = [
        [
            code(p["name"]),
            p["in"],
            _json_type(p["schema"]),
            "required" if p.get("required") else "",
            _limits(p["schema"]),
        ]
        for p in operation.get("parameters", ())
    ]
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content:
        reference = _reference(content["schema"])
        rows += _fields(schema, reference) if reference else []
    if rows:
        text += f"\n{table(('Field', 'In', 'Type', '', 'Limits'), rows)}"
    answers = [[code(s), _meaning(a)] for s, a in sorted(operation["responses"].items())]
    return f"{text}\n{table(('Answer', 'Meaning'), answers)}"


def _meaning(answer: Any) -> str:
    return escaped(answer.get("description", "").replace("Successful Response", "Done."))


def _reference(schema: Any) -> str | None:
    options = [schema, *schema.get("anyOf", ())]
    return next((str(o["$ref"]).rpartition("/")[2] for o in options if "$ref" in o), None)


def _parts(schema: Any) -> str:
    """Return the shapes that bodies and answers are made of."""
    text = "\n## Shapes\n"
    for name, model in schema["components"]["schemas"].items():
        if not name.endswith("Request"):
            rows = [[field, kind, required, limits] for field, _, kind, required, limits in _fields(schema, name)]
            head = ("Field", "Type", "", "Limits")
            text += f"\n### {name}\n\n{escaped(model.get('description', ''))}\n\n{table(head, rows)}"
    return text


def _fields(schema: Any, name: str) -> Iterator[list[str]]:
    model = schema["components"]["schemas"][name]
    for field, inner in model.get("properties", {}).items():
        required = "required" if field in model.get("required", ()) else ""
        yield [code(field), "body", _json_type(inner), required, _limits(inner)]


def _json_type(schema: Any) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        kinds = [_json_type(each) for each in schema["anyOf"] if each.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds)) or "null"
    if "enum" in schema:
        return " or ".join(code(each) for each in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_json_type(schema.get('items', {}))}"
    return code(schema["const"]) if "const" in schema else str(schema.get("type", "any"))


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _limits(schema: Any) -> str:
    parts = [schema, *(each for each in schema.get("anyOf", ()) if each.get("type") != "null")]
    return ", ".join(
        dict.fromkeys(LIMITS[key].format(_number(part[key])) for part in parts for key in LIMITS if key in part)
    )


def _errors() -> str:
    from chatbot.api.errors import SHAPES

    rows = []
    for kind, status, name, error_code in SHAPES:
        own = kind.__module__ == "shoptalk.errors"
        meaning = first_line(kind.__doc__) if own else "The database or the disk does not work now."
        rows.append([code(status), code(name), code(error_code) if error_code else "", meaning])
    return table(("Status", "type", "code", "Meaning"), rows)
