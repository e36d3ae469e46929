"""The owners of conversations: a named client with any number of API keys, or one visitor. Knows no secrets.

A key that is made without a name for its owner is an owner of its own, by its id. Imports belong to the shop's own
owner, `import`, unless somebody names another one.
"""

from __future__ import annotations

import re
from typing import Final

from shoptalk.errors import InvalidInput

IMPORT: Final = "import"
WEB: Final = "web"  # the chat page, whose visitors are an owner each
KEY: Final = "key_"
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


def visitor(customer: str) -> str:
    """Return the owner for one visitor of the chat page, from the stored form of their customer id."""
    return f"{WEB}:{customer}"


def of_key(key_id: str, customer: str | None) -> str:
    """Return the owner of what was recorded before there were owners."""
    return visitor(customer) if key_id == WEB and customer else key_id


def checked(name: str) -> str:
    """Return the name if a client may have it, else raise InvalidInput. The id of a key names that key's own owner."""
    if not NAME.fullmatch(name):
        raise InvalidInput(
            "owner: is not a name",
            field="owner",
            fix="use 1 to 64 letters, digits, '.', '_' and '-', such as storefront",
        )
    if name == WEB:
        raise InvalidInput(f"owner: '{WEB}' stands for the chat page", field="owner", fix="choose another name")
    return name


def of_imports(owner: str) -> str:
    """Return the owner of a key's imports: a named owner, else the shop's own, which keys without a name share."""
    return IMPORT if owner.startswith(KEY) else owner
