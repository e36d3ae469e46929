"""A visitor's cookie, as far as it can be read without the store: which visitor it names."""

from __future__ import annotations

from shoptalk.crypto import Secrets
from shoptalk.errors import ConfigurationError

COOKIE = "shoptalk_session"
LONGEST = 1000  # characters; valid cookies are shorter


def visitor_of(secrets: Secrets, cookie: str) -> str | None:
    """Return the visitor a cookie names; None where the cookie is not valid or names no visitor."""
    if len(cookie) > LONGEST:
        return None
    try:
        session = secrets.decrypt(cookie.encode("utf-8", "replace"))
    except ConfigurationError:
        return None
    return str(session["visitor"]) if "visitor" in session else None
