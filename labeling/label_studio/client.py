"""A client of Label Studio's HTTP API, as far as labelling needs it; the only module that imports its SDK.

Knows projects, tasks and annotations as plain dicts, but not the store. Requests are never retried: the SDK's retries
would send a POST again although the first one arrived. No error message here quotes a token.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
from label_studio_sdk import LabelStudio as Sdk
from label_studio_sdk.core import ApiError, ParsingError

from shoptalk.errors import ConfigurationError, InvalidInput, LabelStudioUnavailable, NotFound

PAGE = 500
FIELDS = "id,data,updated_at,annotations,result,was_cancelled,completed_by,lead_time"


class LabelStudio:
    """A client of one Label Studio, thread-safe. Opens no connection until it is used.

    Every method that makes a request raises LabelStudioUnavailable, ConfigurationError (a wrong token), NotFound or
    InvalidInput.
    """

    def __init__(self, url: str, token: str | None, *, timeout_s: float = 60.0) -> None:
        if not token:
            raise ConfigurationError(
                "SHOPTALK_LABEL_STUDIO_TOKEN is not set", fix=f"copy the token from {url.rstrip('/')}/user/account"
            )
        self.url = url.rstrip("/")
        self._http = httpx.Client(timeout=timeout_s, follow_redirects=True, trust_env=not _is_loopback(self.url))
        self._sdk = Sdk(base_url=self.url, api_key=token, max_retries=0, httpx_client=self._http, timeout=timeout_s)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ping(self) -> None:
        """Raise an error unless Label Studio answers and accepts the token."""
        with self._errors("who am I"):
            self._sdk.users.whoami()

    def ensure_project(self, name: str, config: str) -> int:
        """Return the id of the project with this title; create it or update its labelling page where needed."""
        with self._errors(f"project '{name}'"):
            same = [p for p in self._sdk.projects.list(title=name) if p.title == name]
            if not same:
                return int(self._sdk.projects.create(title=name, label_config=config, show_skip_button=True).id)
            project = min(same, key=lambda p: p.id)
            if (project.label_config or "").strip() != config.strip():
                self._sdk.projects.update(project.id, label_config=config)
            return int(project.id)

    def project_title(self, project_id: int) -> str | None:
        """Return a project's title; None where there is no project with this id."""
        try:
            with self._errors(f"project {project_id}"):
                return str(self._sdk.projects.get(project_id).title)
        except NotFound:
            return None

    def import_tasks(self, project_id: int, tasks: Sequence[Mapping[str, Any]]) -> list[int]:
        """Add tasks and return their ids, in the same order. Nothing is deduplicated here."""
        if not tasks:
            return []
        with self._errors("import of tasks"):
            done = self._sdk.projects.import_tasks(project_id, request=list(tasks), return_task_ids=True)
        ids = [int(i) for i in done.task_ids or []]
        if len(ids) != len(tasks):
            raise LabelStudioUnavailable(f"Label Studio took {len(ids)} of {len(tasks)} tasks", fix="push again")
        return ids

    def find_tasks(self, project_id: int, sample_ids: Sequence[str]) -> dict[str, list[int]]:
        """Return each sample's tasks, oldest first; samples without one are left out."""
        found: dict[str, list[int]] = {}
        for start in range(0, len(sample_ids), 50):
            wanted = list(sample_ids[start : start + 50])
            for task in self._tasks(project_id, [_filter("data.sample_id", "in_list", "List", wanted)], "id,data"):
                found.setdefault(task["data"]["sample_id"], []).append(task["id"])
        return found

    def annotated_since(self, project_id: int, cursor: datetime | None) -> Iterator[dict[str, Any]]:
        """Yield tasks changed at or after `cursor`, ordered by id, each with `data`, `updated_at` and `annotations`.

        Tasks without annotations are included: theirs may have been withdrawn.
        """
        filters = []
        if cursor is not None:
            moment = cursor.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            filters.append(_filter("updated_at", "greater_or_equal", "Datetime", moment))
        return self._tasks(project_id, filters, FIELDS)

    def unannotated(self, project_id: int) -> Iterator[dict[str, Any]]:
        """Yield tasks that nobody answered or skipped yet, ordered by id."""
        none = [_filter(f"{kind}_annotations", "equal", "Number", 0) for kind in ("total", "cancelled")]
        return self._tasks(project_id, none, "id,data")

    def newest_change(self, project_id: int) -> datetime | None:
        """Return when a task of the project last changed, by Label Studio's clock; None without tasks."""
        with self._errors("newest task"):
            query = {"filters": {"conjunction": "and", "items": []}, "ordering": ["-tasks:updated_at"]}
            page = self._sdk.tasks.list(
                project=project_id, query=json.dumps(query), page_size=1, include="id,updated_at"
            ).items
        return page[0].updated_at if page else None

    def annotate(
        self, task_id: int, result: Sequence[Mapping[str, Any]], *, lead_time_s: float = 0.0, skip: bool = False
    ) -> int:
        """Submit (or skip) a task as the token's user; return the annotation's id."""
        with self._errors(f"annotation of task {task_id}"):
            made = self._sdk.annotations.create(
                id=task_id, result=[dict(item) for item in result], lead_time=lead_time_s, was_cancelled=skip
            )
        return int(made.id)

    def update_annotation(self, annotation_id: int, result: Sequence[Mapping[str, Any]]) -> datetime:
        """Replace an annotation's result; return the time of the change by Label Studio's clock."""
        with self._errors(f"annotation {annotation_id}"):
            done = self._sdk.annotations.update(id=annotation_id, result=[dict(item) for item in result])
        changed: datetime = done.updated_at
        return changed

    def drafted(self, project_id: int) -> Iterator[dict[str, Any]]:
        """Yield tasks with `drafts`, which annotators typed and have not submitted, ordered by id."""
        exists = [_filter("draft_exists", "equal", "Boolean", True)]
        return self._tasks(project_id, exists, "id,data,drafts")

    def update_draft(self, draft_id: int, result: Sequence[Mapping[str, Any]]) -> None:
        """Replace a draft's result. One that was submitted meanwhile is gone, which is no error."""
        with self._errors(f"draft {draft_id}"):  # the SDK has no method for drafts, but its transport does
            answer = self._sdk._client_wrapper.httpx_client.request(
                f"api/drafts/{draft_id}", method="PATCH", json={"result": [dict(item) for item in result]}
            )
            if answer.status_code >= 400 and answer.status_code != 404:
                raise ApiError(status_code=answer.status_code)

    def delete_task(self, task_id: int) -> None:
        """Delete a task with its annotations. One that is gone already is no error."""
        try:
            with self._errors(f"task {task_id}"):
                self._sdk.tasks.delete(str(task_id))
        except NotFound:
            return

    def count(self, project_id: int) -> int:
        """Return the number of tasks in the project."""
        with self._errors(f"project {project_id}"):
            return int(self._sdk.projects.get(project_id).task_number or 0)

    def _tasks(self, project_id: int, filters: list[dict[str, Any]], fields: str) -> Iterator[dict[str, Any]]:
        """Yield matching tasks, ordered by id.

        Each page starts after the last id of the one before, so no task is missed or returned twice.
        """
        last = 0
        while True:
            items = [*filters, _filter("id", "greater", "Number", last)]
            query = {"filters": {"conjunction": "and", "items": items}, "ordering": ["tasks:id"]}
            with self._errors("list of tasks"):
                page = self._sdk.tasks.list(
                    project=project_id, query=json.dumps(query), page_size=PAGE, include=fields
                ).items
            tasks = [task if isinstance(task, dict) else task.model_dump() for task in page or []]
            yield from tasks
            if len(tasks) < PAGE:
                return
            last = tasks[-1]["id"]

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        """Translate errors of the SDK and of the connection into our own; `what` is what failed."""
        try:
            yield
        except httpx.TransportError as error:
            raise LabelStudioUnavailable(
                f"Label Studio does not answer at {self.url} ({type(error).__name__})",
                fix="start it, or correct SHOPTALK_LABEL_STUDIO_URL",
            ) from error
        except ParsingError as error:
            raise LabelStudioUnavailable(
                f"what answers at {self.url} is not Label Studio 1.23", fix="correct SHOPTALK_LABEL_STUDIO_URL"
            ) from error
        except ApiError as error:
            raise self._api_error(error, what) from None  # the original quotes headers and bodies

    def _api_error(self, error: ApiError, what: str) -> Exception:
        status = error.status_code or 0
        if status in (401, 403):
            return ConfigurationError(
                f"Label Studio at {self.url} refused the token ({status})",
                fix=f"set SHOPTALK_LABEL_STUDIO_TOKEN to the one shown at {self.url}/user/account",
            )
        if status == 404:
            return NotFound(f"Label Studio has no such thing: {what}")
        if 400 <= status < 500:
            body = error.body if isinstance(error.body, dict) else {}
            detail = body.get("validation_errors") or body.get("detail") or "no reason given"
            return InvalidInput(f"Label Studio refused {what} ({status}): {str(detail)[:200]}")
        return LabelStudioUnavailable(f"Label Studio at {self.url} failed at {what} ({status})", fix="see its log")


def _filter(name: str, operator: str, kind: str, value: Any) -> dict[str, Any]:
    return {"filter": f"filter:tasks:{name}", "operator": operator, "type": kind, "value": value}


def _is_loopback(url: str) -> bool:
    """Return whether the address is this machine, for which no proxy is used."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
