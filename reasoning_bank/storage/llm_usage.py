"""What was asked of language models, by UTC day, workspace, purpose and model."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import date
from typing import Any

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects.sqlite import insert

from reasoning_bank.storage.schema import llm_usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Sums over some calls; as a difference its numbers may be negative.

    Attributes:
        calls: requests sent to a model, whatever came of them.
        failures: those that brought no usable answer.
        from_cache: questions answered as before.
        from_templates: questions answered by a template.
        input_tokens: tokens read at the full price.
        cached_tokens: tokens read that the server had read before.
        output_tokens: tokens written.
        cost_micros: millionths of a US dollar; 0 for models without a price.
    """

    calls: int = 0
    failures: int = 0
    from_cache: int = 0
    from_templates: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    cost_micros: int = 0

    @property
    def tokens(self) -> int:
        """All tokens, read or written."""
        return self.input_tokens + self.cached_tokens + self.output_tokens

    def __sub__(self, other: "Usage") -> "Usage":
        return Usage(**{field.name: getattr(self, field.name) - getattr(other, field.name) for field in fields(Usage)})


@dataclass(frozen=True, slots=True)
class Asked:
    """Who was asked by whom, what for: whose counts they are."""

    workspace: str
    purpose: str
    model: str


_SUMS = [func.coalesce(func.sum(llm_usage.c[field.name]), 0) for field in fields(Usage)]


def add(connection: Connection, day: date, asked: Asked, usage: Usage) -> None:
    """Adds to the counts of a day."""
    row = insert(llm_usage).values(day=day.isoformat(), **asdict(asked), **asdict(usage))
    counts = {field.name: llm_usage.c[field.name] + row.excluded[field.name] for field in fields(Usage)}
    connection.execute(row.on_conflict_do_update(index_elements=["day", "workspace", "purpose", "model"], set_=counts))


def total(connection: Connection, day: date, workspace: str | None = None) -> Usage:
    """The sum of a day, of one workspace or of all."""
    query = select(*_SUMS).where(llm_usage.c.day == day.isoformat())
    if workspace is not None:
        query = query.where(llm_usage.c.workspace == workspace)
    return _usage(connection.execute(query).one())


def by_model(connection: Connection, day: date, workspace: str | None = None) -> list[tuple[str, str, Usage]]:
    """Purpose, model and sum of a day, of one workspace or of all, by name."""
    names = (llm_usage.c.purpose, llm_usage.c.model)
    query = select(*names, *_SUMS).where(llm_usage.c.day == day.isoformat()).group_by(*names).order_by(*names)
    if workspace is not None:
        query = query.where(llm_usage.c.workspace == workspace)
    rows: Sequence[Any] = connection.execute(query).all()
    return [(row[0], row[1], _usage(row[2:])) for row in rows]


def _usage(sums: Sequence[Any]) -> Usage:
    return Usage(**{field.name: value for field, value in zip(fields(Usage), sums, strict=True)})
