"""What Alembic runs: all missing revisions in one transaction of the connection it was given."""

from alembic import context
from sqlalchemy import Connection

from reasoning_bank.storage.schema import metadata

_connection: Connection = context.config.attributes["connection"]
context.configure(
    connection=_connection,
    target_metadata=metadata,
    transaction_per_migration=False,
    render_as_batch=True,  # SQLite alters tables by building them anew
)
context.run_migrations()
