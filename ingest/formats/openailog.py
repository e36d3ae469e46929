"""Reads conversations in OpenAI's shapes: fine-tuning files, and logs of requests with their responses, as JSON lines.

System and tool messages are left out, as nobody says them. Knows no scrubbing and no database.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from ingest.formats.files import (
    LONGEST_LINE,
    FieldError,
    FileConversation,
    LineProblem,
    decoded,
    id_of,
    parsed,
    read_lines,
)

SAID_BY: Final = {"user": "customer", "assistant": "agent"}
LEFT_OUT: Final = frozenset({"system", "developer", "tool", "function"})


def read_openai(path: Path) -> Iterator[FileConversation | LineProblem]:
    """Yield a conversation for each line; a wrong line is a LineProblem. Raises InvalidInput for an unreadable file.

    A line is `{"messages": [...]}`, perhaps with `"choices"`, or with `"request"` and `"response"` around these. Its
    id is its `metadata.conversation_id`, `conversation_id` or `id`, else a hash of what was said.
    """
    for number, line in read_lines(path, LONGEST_LINE):
        try:
            yield parsed(number, conversation(decoded(number, line)))
        except FieldError as wrong:
            yield LineProblem(number, wrong.field, wrong.reason)


def conversation(data: Any) -> dict[str, Any]:
    """Return the conversation as a line of a conversation file has it; raise FieldError."""
    if not isinstance(data, dict):
        raise FieldError("", "is not a JSON object")
    request = data.get("request", data)
    response = data.get("response", data)
    if not isinstance(request, dict) or not isinstance(request.get("messages"), list):
        raise FieldError("messages", "must be a list")
    messages = [*request["messages"]]
    choices = response.get("choices") if isinstance(response, dict) else None
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        messages.append(choices[0].get("message"))
    turns = [turn for i, m in enumerate(messages) if (turn := _turn(m, f"messages.{i}")) is not None]
    if not turns:
        raise FieldError("messages", "nobody says anything")
    metadata = next((m for m in (data.get("metadata"), request.get("metadata")) if isinstance(m, Mapping)), {})
    ids = (metadata.get("conversation_id"), data.get("conversation_id"), data.get("id"))
    id = next((each for each in ids if each), None)
    if id is None and isinstance(response, dict):
        id = response.get("id")
    return {
        "conversation_id": id or id_of(turns),
        "customer_id": request.get("user") or data.get("user"),
        "turns": turns,
    }


def _turn(message: Any, field: str) -> dict[str, Any] | None:
    """Return the turn; None for what nobody said."""
    if not isinstance(message, dict):
        raise FieldError(field, "is not a JSON object")
    role = message.get("role")
    if role in LEFT_OUT:
        return None
    if role not in SAID_BY:
        raise FieldError(f"{field}.role", "must be one of OpenAI's")
    content = message.get("content")
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") in ("text", None)]
        content = "\n".join(text for text in texts if isinstance(text, str))
    if content is None and message.get("tool_calls"):
        return None
    return {"role": SAID_BY[role], "text": content}
