"""Figures per quarter of an hour, settings on trial, what background work goes first, and the indexes that are used."""

from alembic import op

revision = "0003"
down_revision = "0002"

_STATEMENTS = """
ALTER TABLE outbox ADD COLUMN priority INTEGER DEFAULT 0 NOT NULL
;
CREATE INDEX ix_outbox_due ON outbox (kind, priority DESC, seq) WHERE dead_at IS NULL
;
CREATE INDEX ix_outbox_leased ON outbox (lease_until) WHERE lease_owner IS NOT NULL
;
CREATE INDEX ix_outbox_dead ON outbox (dead_at) WHERE dead_at IS NOT NULL
;
CREATE INDEX ix_traces_workspace ON traces (workspace)
;
CREATE INDEX ix_traces_beginning ON traces (workspace, substr(lower(trim(task)), 1, 64))
;
DROP INDEX ix_memories_workspace_external_id
;
DROP INDEX ix_servings_workspace_task_hash
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
    """Adds a column with a default, indexes and tables: no row is rewritten, however large the bank."""
    for statement in _STATEMENTS.split(";"):
        op.execute(statement)
