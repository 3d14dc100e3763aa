"""Figures per quarter of an hour, settings on trial, and what background work goes first."""

from alembic import op

revision = "0003"
down_revision = "0002"

_STATEMENTS = """
ALTER TABLE outbox ADD COLUMN priority INTEGER DEFAULT 0 NOT NULL
;
CREATE TABLE metric_rollups (
    start INTEGER NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    count INTEGER NOT NULL,
    errors INTEGER NOT NULL,
    total FLOAT NOT NULL,
    smallest FLOAT NOT NULL,
    largest FLOAT NOT NULL,
    last FLOAT NOT NULL,
    sketch BLOB,
    CONSTRAINT pk_metric_rollups PRIMARY KEY (start, name)
)
 WITHOUT ROWID
;
CREATE TABLE tuning (
    id INTEGER NOT NULL,
    setting TEXT NOT NULL,
    value TEXT NOT NULL,
    previous TEXT NOT NULL,
    metric TEXT NOT NULL,
    before FLOAT,
    after FLOAT,
    state TEXT NOT NULL,
    applied_at INTEGER NOT NULL,
    decided_at INTEGER,
    reason TEXT NOT NULL,
    CONSTRAINT pk_tuning PRIMARY KEY (id)
)
"""


def upgrade() -> None:
    """Adds a column with a default, and tables: no row is rewritten, however large the bank."""
    for statement in _STATEMENTS.split(";"):
        op.execute(statement)
