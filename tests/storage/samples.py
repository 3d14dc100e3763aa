"""Memories and traces to store, each different and each as full as the records allow."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from reasoning_bank.records import Counters, ErrorContext, Memory, MemoryItem, NewTrace, Trace
from reasoning_bank.storage import Database, memories, traces, workspaces
from reasoning_bank.text.analyser import analyse
from reasoning_bank.text.fields import content_hash

START = datetime(2026, 1, 1, tzinfo=UTC)


def moment(seconds: float = 0) -> datetime:
    return START + timedelta(seconds=seconds)


def trace(id_: str = "t", workspace: str = "w") -> Trace:
    report = NewTrace(
        task=f"Fix the failing migration of {id_}",
        outcome="failure",
        trajectory=[{"step": "run", "output": "boom"}, {"step": "fix", "lines": [1, 2]}],
        tags=("Django", "db"),
        domain="web",
        external_id=f"external-{id_}",
        session="s1",
        actor="agent",
        time="2025-05-07T12:00:00",
        metadata={"nested": {"β": [1, None, True]}},
    )
    return Trace(id_, workspace, report, moment(), f"hash-{id_}")


def item(name: str = "m", **changes: object) -> MemoryItem:
    values: dict[str, object] = {
        "text": f"the task that {name} was learned from",
        "title": f"Title of {name}",
        "description": "when migrations fail",
        "content": f"use `makemigrations --merge`, then test {name}",
        "external_id": f"external-{name}",
        "tags": ("Django", "db"),
        "domain": "Web",
        "difficulty": "hard",
        "outcome": "success",
        "error_context": ErrorContext("IntegrityError", "two heads", "merge them"),
        "session": "s1",
        "position": 3,
        "actor": "Caroline",
        "time": "2025-05-07T12:00:00+00:00",
        "origin": "rules",
        "trust": "low",
        "parents": (),
        "valid_from": None,
        "valid_to": None,
        "metadata": {"nested": {"β": [1, None, True]}},
    }
    return MemoryItem(**(values | changes))  # pyright: ignore[reportArgumentType] -- checked by the tests' assertions


def memory(name: str = "m", workspace: str = "w", trace_id: str = "t", **changes: object) -> Memory:
    its = item(name, **changes)
    return Memory(name, workspace, trace_id, its, Counters(1, 2, 3, 4), moment(), moment(1), content_hash(its))


def store(connection: Connection, *new: Memory) -> None:
    """Stores memories with their workspaces and traces, as far as those are missing."""
    for one in new:
        workspaces.ensure(connection, one.workspace, moment())
        if not traces.existing_ids(connection, one.workspace, [one.trace_id]):
            traces.insert(connection, trace(one.trace_id, one.workspace))
        memories.insert(connection, [one], [analyse(one.item)])


def stored(database: Database, *new: Memory) -> None:
    database.write_now(lambda connection: store(connection, *new))
