"""Which memories a query may see: the filters, answered in SQL."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from sqlalchemy import ColumnElement, Connection, and_, or_, select

from reasoning_bank.storage.schema import memories, memory_tags
from reasoning_bank.storage.timestamps import to_micros, to_seconds


def is_live() -> ColumnElement[bool]:
    """Neither forgotten nor superseded."""
    return and_(memories.c.deleted_at.is_(None), memories.c.superseded_by.is_(None))


def is_searchable() -> ColumnElement[bool]:
    """Live and not quarantined: what a search may know of at all, be it as one of many in its statistics."""
    return and_(is_live(), memories.c.trust != "quarantined")


def is_one_of(workspace: str, values: Sequence[str], column: str = "id") -> ColumnElement[bool]:
    """One of a few memories, by their ids or by another column; for statements that ask for more than that of a row.

    Looked up apart: SQLite takes "live in this workspace" for more selective than some ids, and looks through them all.
    """
    mine = select(_NAMED.c.seq).where(_NAMED.c.workspace == workspace, _NAMED.c[column].in_(values))
    return memories.c.seq.in_(mine)


def scoped_ids(  # noqa: PLR0913 -- one keyword per filter of a query
    connection: Connection,
    workspace: str,
    *,
    now: datetime,
    tags: tuple[str, ...] = (),
    domain: str | None = None,
    outcome: Literal["any", "success", "failure"] = "any",
    since: datetime | None = None,
    until: datetime | None = None,
    include_failures: bool = True,
) -> list[str] | None:
    """Ids of the memories that are searchable, valid at `now` and pass every filter; None when nothing filters.

    In no particular order: sorting would cost more than finding. A memory passes `tags` when it has each of them;
    tags and domain ignore case. `since` and `until` are inclusive and compare when it happened: the event time where
    it is a date, else when it was stored.
    """
    filters = [_has_tag(workspace, tag) for tag in tags]
    if domain is not None:
        filters.append(memories.c.domain.in_(_spellings(connection, workspace, domain)))
    if outcome != "any":
        filters.append(memories.c.outcome == outcome)
    elif not include_failures:
        filters.append(memories.c.outcome != "failure")
    if since is not None:
        filters.append(memories.c.occurred_at >= to_seconds(since))
    if until is not None:
        filters.append(memories.c.occurred_at <= to_seconds(until))
    if not filters:
        return None
    here = memories.c.workspace == workspace
    statement = select(memories.c.id).where(here, is_searchable(), _valid_at(now), *filters)
    return list(connection.scalars(statement))


def _spellings(connection: Connection, workspace: str, domain: str) -> list[str]:
    # SQLite's lower() knows ASCII only, so the few names there are are compared here.
    names = connection.scalars(select(memories.c.domain).distinct().where(memories.c.workspace == workspace, is_live()))
    return [name for name in names if name is not None and name.casefold() == domain.casefold()]


def _has_tag(workspace: str, tag: str) -> ColumnElement[bool]:
    tagged = select(memory_tags.c.memory).where(
        memory_tags.c.workspace == workspace, memory_tags.c.tag == tag.casefold()
    )
    return memories.c.seq.in_(tagged)


def _valid_at(now: datetime) -> ColumnElement[bool]:
    moment = to_micros(now)
    return and_(
        or_(memories.c.valid_from.is_(None), memories.c.valid_from <= moment),
        or_(memories.c.valid_to.is_(None), memories.c.valid_to > moment),
    )


_NAMED = memories.alias()
