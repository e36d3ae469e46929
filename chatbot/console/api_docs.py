"""The API's OpenAPI schema at /openapi.json, and a page that shows it at /docs, for whoever holds an API key.

The page is plain HTML without script; FastAPI's own loads scripts from another host. Knows no route: it shows whatever
the schema holds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, JSONResponse

from chatbot.api.auth import key_holder
from chatbot.api.caller import Caller
from chatbot.console.render import page

REF = "#/components/schemas/"
router = APIRouter()
KeyHolder = Annotated[Caller, Depends(key_holder)]
Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter in the path, the query or a header."""

    name: str
    location: str
    required: bool
    kind: str


@dataclass(frozen=True, slots=True)
class Content:
    """The body of a request or an answer."""

    #: `Request`, or an answer's status
    label: str
    description: str
    #: media type; empty where there is no body
    media: str
    #: the component that describes it; else `schema` does
    model: str
    schema: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path."""

    id: str
    method: str
    path: str
    tag: str
    description: str
    #: empty where no API key is needed
    scope: str
    parameters: tuple[Parameter, ...]
    contents: tuple[Content, ...]


@router.get("/openapi.json")
async def openapi(request: Request, _: KeyHolder) -> JSONResponse:
    """Return the OpenAPI schema."""
    return JSONResponse(request.app.openapi())


@router.get("/docs")
async def docs(request: Request, _: KeyHolder) -> HTMLResponse:
    """Show all operations and models."""
    schema = request.app.openapi()
    groups: dict[str, list[Operation]] = {}
    for operation in operations(schema):
        groups.setdefault(operation.tag, []).append(operation)
    models = {name: _pretty(model) for name, model in sorted(schema["components"]["schemas"].items())}
    return page("docs.html", info=schema["info"], groups=groups, models=models)


def operations(schema: Json) -> Iterator[Operation]:
    """Yield the operations of an OpenAPI schema, in its order."""
    for path, methods in schema["paths"].items():
        for method, found in methods.items():
            yield Operation(
                id=found["operationId"],
                method=method.upper(),
                path=path,
                tag=next(iter(found.get("tags", ())), "other"),
                description=found.get("description", found.get("summary", "")),
                scope=_scope(found),
                parameters=tuple(_parameter(each) for each in found.get("parameters", ())),
                contents=tuple(_contents(found)),
            )


def _scope(operation: Json) -> str:
    scopes = {scope for needed in operation.get("security", ()) for named in needed.values() for scope in named}
    return ", ".join(sorted(scopes))


def _parameter(found: Json) -> Parameter:
    return Parameter(found["name"], found["in"], found.get("required", False), kind(found.get("schema", {})))


def _contents(operation: Json) -> Iterator[Content]:
    if body := operation.get("requestBody"):
        yield from _bodies("Request", body)
    for status, answer in sorted(operation["responses"].items()):
        yield from _bodies(status, answer)


def _bodies(label: str, found: Json) -> Iterator[Content]:
    description = found.get("description", "")
    for media, body in found.get("content", {"": {}}).items():
        schema = body.get("schema", {})
        model = schema.get("$ref", "").removeprefix(REF)
        yield Content(label, description, media, model, _pretty(schema) if schema and not model else "")


def kind(schema: Json) -> str:
    """Return a schema's type in words: `string or null`, `list of integer`, `"now" or "when_replaced"`."""
    if "$ref" in schema:
        return str(schema["$ref"]).removeprefix(REF)
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return " or ".join(kind(each) for each in schema[several])
    if "enum" in schema:
        return " or ".join(json.dumps(value) for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {kind(schema.get('items', {}))}"
    return str(schema.get("type", "any"))


def _pretty(schema: Json) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False)
