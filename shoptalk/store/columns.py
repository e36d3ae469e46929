"""The types and names that all tables share: times, ids, JSON, and how indexes and constraints are named."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, String
from sqlalchemy.types import TypeDecorator


class Time(TypeDecorator[datetime]):
    """A timezone-aware UTC time, on SQLite too, which has no such type."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("times must be timezone-aware")
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)
ID = String(80)
Json = sa.JSON()


def id_column() -> Column[str]:
    return Column("id", ID, primary_key=True)


def time_column(name: str = "created_at") -> Column[datetime]:
    return Column(name, Time(), nullable=False)
