"""The conversation contract: clients resend history, and only what is new is stored.

Turns form a tree of digests. A history is matched from the root or, where a client sends only the recent part, from
the newest turn that fits its first message. The messages after the match are new. Knows no text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shoptalk.domain import Role
from shoptalk.store.chat.chats import Node


@dataclass(frozen=True, slots=True)
class Sent:
    """One message of the history a client sent, as role and keyed digest."""

    role: Role
    digest: str


@dataclass(frozen=True, slots=True)
class Match:
    """The stored turns that a history begins with."""

    nodes: tuple[Node, ...]

    @property
    def end(self) -> int:
        """Return the index of the first message that is new."""
        return len(self.nodes)

    @property
    def parent(self) -> str | None:
        """Return the id of the turn that the first new message follows; None for none."""
        return self.nodes[-1].id if self.nodes else None


def match(stored: Sequence[Node], sent: Sequence[Sent]) -> Match:
    """Return the longest stored path that a history begins with."""
    children: dict[str | None, list[Node]] = {}
    for node in stored:
        children.setdefault(node.parent_id, []).append(node)
    path = _walk(children, children.get(None, []), sent)
    if not path and sent:
        starts = [n for n in stored if _fits(n, sent[0])]
        paths = [_walk(children, [n], sent) for n in reversed(starts)]
        path = max(paths, key=len, default=[])
    return Match(tuple(path))


def _walk(children: dict[str | None, list[Node]], level: Sequence[Node], sent: Sequence[Sent]) -> list[Node]:
    path: list[Node] = []
    for message in sent:
        fitting = [n for n in level if _fits(n, message)]
        if not fitting:
            break
        # two stored answers may read alike: follow the one the conversation went on from
        path.append(max(fitting, key=lambda n: len(children.get(n.id, []))))
        level = children.get(path[-1].id, [])
    return path


def _fits(node: Node, message: Sent) -> bool:
    return node.role == message.role and node.digest == message.digest
