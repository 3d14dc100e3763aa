"""A few named values of the bank itself: the salt of redaction, which embedding model is active."""

from sqlalchemy import Connection, select
from sqlalchemy.dialects.sqlite import insert

from reasoning_bank.storage.schema import facts


def get(connection: Connection, name: str) -> str | None:
    """The value of a name, or None."""
    return connection.scalar(select(facts.c.value).where(facts.c.name == name))


def put(connection: Connection, name: str, value: str) -> None:
    """Sets the value of a name."""
    row = insert(facts).values(name=name, value=value)
    connection.execute(row.on_conflict_do_update(index_elements=["name"], set_={"value": row.excluded.value}))


def put_once(connection: Connection, name: str, value: str) -> str:
    """The value of a name, which becomes `value` unless it has one: the first of several processes decides."""
    connection.execute(insert(facts).values(name=name, value=value).on_conflict_do_nothing())
    return get(connection, name) or value
