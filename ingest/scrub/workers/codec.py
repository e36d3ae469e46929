"""The requests to a worker and its answers, as values that JSON can hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ingest.scrub.placeholders import Vault
from ingest.scrub.scrubbed import Scrubbed
from ingest.scrub.spans import Span
from shoptalk.domain import Message
from shoptalk.errors import ScrubbingFailed
from shoptalk.ports import CustomerRecord


def many(
    conversations: Sequence[Sequence[Message]], records: Sequence[CustomerRecord], trusted: bool
) -> dict[str, Any]:
    """Return the request to scrub conversations together."""
    return {
        "do": "many",
        "conversations": [[(said.role, said.content) for said in each] for each in conversations],
        "records": [_plain(record) for record in records],
        "trusted": trusted,
    }


def _plain(record: CustomerRecord) -> dict[str, Any]:
    return {name: value if isinstance(value, str) else list(value) for name, value in record.items()}


def read_many(request: Mapping[str, Any]) -> tuple[list[list[Message]], list[CustomerRecord], bool]:
    """Return the arguments that `many` was called with."""
    conversations = [[Message(role, content) for role, content in each] for each in request["conversations"]]
    return conversations, request["records"], request["trusted"]


def outcome(made: Scrubbed | ScrubbingFailed) -> dict[str, Any]:
    """Return one conversation's outcome, to be sent."""
    if isinstance(made, ScrubbingFailed):
        return {"failed": made.message}
    return {
        "texts": made.texts,
        "final": made.final,
        "counts": [dict(each) for each in made.counts],
        "values": made.vault.values,
        "literals": sorted(made.vault.literals),
        "found": [[(s.start, s.end, s.kind, s.score) for s in each] for each in made.found],
    }


def read_outcome(sent: Mapping[str, Any]) -> Scrubbed | ScrubbingFailed:
    """Return one conversation's outcome, as received."""
    if "failed" in sent:
        return ScrubbingFailed(sent["failed"])
    return Scrubbed(
        tuple(sent["texts"]),
        tuple(sent["final"]),
        tuple(sent["counts"]),
        Vault(sent["values"], frozenset(sent["literals"])),
        tuple(tuple(Span(*span) for span in each) for each in sent["found"]),
    )
