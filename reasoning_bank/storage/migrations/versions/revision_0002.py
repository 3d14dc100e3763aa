"""Learning: who made and sent what, judgements, refusals, merged and contradicting memories, what models were asked."""

from alembic import op

revision = "0002"
down_revision = "0001"

_STATEMENTS = """
ALTER TABLE traces ADD COLUMN source_kind TEXT
;
ALTER TABLE traces ADD COLUMN source_client TEXT
;
ALTER TABLE traces ADD COLUMN source_token TEXT
;
ALTER TABLE memories ADD COLUMN made_by TEXT
;
ALTER TABLE memories ADD COLUMN quarantined_for TEXT
;
ALTER TABLE feedback ADD COLUMN task_hash TEXT
;
CREATE TABLE judgements (
    workspace TEXT NOT NULL,
    trace_id TEXT NOT NULL,
    outcome TEXT NOT NULL,
    confidence FLOAT NOT NULL,
    judged_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    reason TEXT NOT NULL,
    CONSTRAINT pk_judgements PRIMARY KEY (workspace, trace_id)
)
;
CREATE TABLE llm_usage (
    day TEXT NOT NULL,
    workspace TEXT NOT NULL,
    purpose TEXT NOT NULL,
    model TEXT NOT NULL,
    calls INTEGER DEFAULT 0 NOT NULL,
    failures INTEGER DEFAULT 0 NOT NULL,
    from_cache INTEGER DEFAULT 0 NOT NULL,
    from_templates INTEGER DEFAULT 0 NOT NULL,
    input_tokens INTEGER DEFAULT 0 NOT NULL,
    cached_tokens INTEGER DEFAULT 0 NOT NULL,
    output_tokens INTEGER DEFAULT 0 NOT NULL,
    cost_micros INTEGER DEFAULT 0 NOT NULL,
    CONSTRAINT pk_llm_usage PRIMARY KEY (day, workspace, purpose, model)
)
;
CREATE TABLE memory_contradictions (
    memory INTEGER NOT NULL,
    other INTEGER NOT NULL,
    reason TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    CONSTRAINT pk_memory_contradictions PRIMARY KEY (memory, other),
    CONSTRAINT fk_memory_contradictions_memory FOREIGN KEY(memory) REFERENCES memories (seq) ON DELETE CASCADE,
    CONSTRAINT fk_memory_contradictions_other FOREIGN KEY(other) REFERENCES memories (seq) ON DELETE CASCADE
)
 WITHOUT ROWID
;
CREATE INDEX ix_memory_contradictions_other ON memory_contradictions (other)
;
CREATE TABLE memory_sources (
    memory INTEGER NOT NULL,
    trace_id TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    CONSTRAINT pk_memory_sources PRIMARY KEY (memory, trace_id),
    CONSTRAINT fk_memory_sources_memory FOREIGN KEY(memory) REFERENCES memories (seq) ON DELETE CASCADE
)
 WITHOUT ROWID
;
CREATE TABLE rejections (
    seq INTEGER NOT NULL,
    workspace TEXT NOT NULL,
    trace_id TEXT,
    made_by TEXT,
    created_at INTEGER NOT NULL,
    title TEXT NOT NULL,
    reason TEXT NOT NULL,
    CONSTRAINT pk_rejections PRIMARY KEY (seq)
)
;
CREATE INDEX ix_rejections_workspace_trace_id ON rejections (workspace, trace_id)
;
CREATE TABLE servings (
    workspace TEXT NOT NULL,
    memory_id TEXT NOT NULL,
    task_hash TEXT NOT NULL,
    served_at INTEGER NOT NULL,
    CONSTRAINT pk_servings PRIMARY KEY (workspace, memory_id, task_hash)
)
 WITHOUT ROWID
;
CREATE INDEX ix_servings_served_at ON servings (served_at)
;
CREATE INDEX ix_servings_workspace_task_hash ON servings (workspace, task_hash)
;
CREATE TABLE memory_history (
    seq INTEGER NOT NULL,
    workspace TEXT NOT NULL,
    memory_id TEXT NOT NULL,
    event TEXT NOT NULL,
    before TEXT,
    after TEXT,
    created_at INTEGER NOT NULL,
    reason TEXT NOT NULL,
    CONSTRAINT pk_memory_history PRIMARY KEY (seq)
)
;
CREATE INDEX ix_memory_history_workspace_memory_id ON memory_history (workspace, memory_id)
"""


def upgrade() -> None:
    """Adds columns that may be empty, and tables: no row is rewritten, however large the bank."""
    for statement in _STATEMENTS.split(";"):
        op.execute(statement)
