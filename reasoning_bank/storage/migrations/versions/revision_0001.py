"""The first schema. New banks are made from `schema.py`; this is where the chain of migrations begins."""

from alembic import op

revision = "0001"
down_revision = None

_STATEMENTS = """
CREATE TABLE bank_facts (
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    CONSTRAINT pk_bank_facts PRIMARY KEY (name)
)
;
CREATE TABLE change_log (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    workspace TEXT NOT NULL,
    memory_id TEXT NOT NULL,
    op TEXT NOT NULL,
    CONSTRAINT uq_change_log_workspace_memory_id_op UNIQUE (workspace, memory_id, op)
)
;
CREATE INDEX ix_change_log_workspace ON change_log (workspace)
;
CREATE TABLE embedding_models (
    number INTEGER NOT NULL,
    model_id TEXT NOT NULL,
    identity TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    CONSTRAINT pk_embedding_models PRIMARY KEY (number),
    CONSTRAINT uq_embedding_models_model_id UNIQUE (model_id)
)
;
CREATE TABLE feedback (
    seq INTEGER NOT NULL,
    workspace TEXT NOT NULL,
    memory_id TEXT NOT NULL,
    verdict TEXT NOT NULL,
    actor TEXT,
    note TEXT,
    created_at INTEGER NOT NULL,
    CONSTRAINT pk_feedback PRIMARY KEY (seq)
)
;
CREATE INDEX ix_feedback_workspace_memory_id ON feedback (workspace, memory_id)
;
CREATE TABLE idempotency_keys (
    workspace TEXT NOT NULL,
    "key" TEXT NOT NULL,
    body_hash TEXT NOT NULL,
    trace_id TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    answer TEXT,
    CONSTRAINT pk_idempotency_keys PRIMARY KEY (workspace, "key")
)
;
CREATE TABLE index_state (
    workspace TEXT NOT NULL,
    name TEXT NOT NULL,
    generation INTEGER NOT NULL,
    model_id TEXT NOT NULL,
    dim INTEGER NOT NULL,
    applied_seq INTEGER NOT NULL,
    size INTEGER NOT NULL,
    digest TEXT NOT NULL,
    status TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    CONSTRAINT pk_index_state PRIMARY KEY (workspace, name)
)
;
CREATE TABLE outbox (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    workspace TEXT NOT NULL,
    kind TEXT NOT NULL,
    attempts INTEGER DEFAULT 0 NOT NULL,
    run_after INTEGER DEFAULT 0 NOT NULL,
    scheduled_at INTEGER NOT NULL,
    lease_owner TEXT,
    lease_until INTEGER,
    dead_at INTEGER,
    created_at INTEGER NOT NULL,
    last_error TEXT,
    payload TEXT NOT NULL
)
;
CREATE TABLE tokens (
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    workspace TEXT NOT NULL,
    scopes TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER,
    CONSTRAINT pk_tokens PRIMARY KEY (id)
)
;
CREATE TABLE workspaces (
    name TEXT NOT NULL,
    privacy_mode TEXT,
    generation INTEGER DEFAULT 0 NOT NULL,
    created_at INTEGER NOT NULL,
    CONSTRAINT pk_workspaces PRIMARY KEY (name)
)
;
CREATE TABLE traces (
    seq INTEGER NOT NULL,
    workspace TEXT NOT NULL,
    id TEXT NOT NULL,
    external_id TEXT,
    outcome TEXT NOT NULL,
    domain TEXT,
    session TEXT,
    actor TEXT,
    time TEXT,
    created_at INTEGER NOT NULL,
    content_hash TEXT NOT NULL,
    tags TEXT,
    metadata TEXT,
    task TEXT NOT NULL,
    trajectory TEXT,
    CONSTRAINT pk_traces PRIMARY KEY (seq),
    CONSTRAINT uq_traces_workspace_id UNIQUE (workspace, id),
    CONSTRAINT fk_traces_workspace FOREIGN KEY(workspace) REFERENCES workspaces (name)
)
;
CREATE TABLE memories (
    seq INTEGER NOT NULL,
    workspace TEXT NOT NULL,
    id TEXT NOT NULL,
    trace_id TEXT NOT NULL,
    external_id TEXT,
    outcome TEXT NOT NULL,
    domain TEXT,
    difficulty TEXT,
    session TEXT,
    position INTEGER,
    actor TEXT,
    time TEXT,
    occurred_at FLOAT NOT NULL,
    origin TEXT NOT NULL,
    trust TEXT NOT NULL,
    valid_from INTEGER,
    valid_to INTEGER,
    used INTEGER DEFAULT 0 NOT NULL,
    helped INTEGER DEFAULT 0 NOT NULL,
    misled INTEGER DEFAULT 0 NOT NULL,
    ignored INTEGER DEFAULT 0 NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    content_hash TEXT NOT NULL,
    superseded_by TEXT,
    deleted_at INTEGER,
    tags TEXT,
    parents TEXT,
    error_context TEXT,
    metadata TEXT,
    title TEXT NOT NULL,
    description TEXT NOT NULL,
    text TEXT NOT NULL,
    content TEXT NOT NULL,
    CONSTRAINT pk_memories PRIMARY KEY (seq),
    CONSTRAINT uq_memories_workspace_id UNIQUE (workspace, id),
    CONSTRAINT fk_memories_workspace_trace_id FOREIGN KEY(workspace, trace_id) REFERENCES traces (workspace, id)
)
;
CREATE INDEX ix_memories_scope ON memories (
    workspace, deleted_at, superseded_by, occurred_at, outcome, domain, valid_from, valid_to, id
)
;
CREATE INDEX ix_memories_workspace ON memories (workspace)
;
CREATE INDEX ix_memories_workspace_content_hash ON memories (workspace, content_hash)
;
CREATE INDEX ix_memories_workspace_external_id ON memories (workspace, external_id) WHERE external_id IS NOT NULL
;
CREATE INDEX ix_memories_workspace_superseded_by ON memories (workspace, superseded_by) WHERE superseded_by IS NOT NULL
;
CREATE INDEX ix_memories_workspace_trace_id ON memories (workspace, trace_id)
;
CREATE TABLE embeddings (
    seq INTEGER NOT NULL,
    memory INTEGER NOT NULL,
    model INTEGER NOT NULL,
    field TEXT NOT NULL,
    chunk INTEGER NOT NULL,
    weight FLOAT NOT NULL,
    dim INTEGER NOT NULL,
    precision TEXT NOT NULL,
    content_hash TEXT NOT NULL,
    vector BLOB NOT NULL,
    CONSTRAINT pk_embeddings PRIMARY KEY (seq),
    CONSTRAINT uq_embeddings_memory_model_field_chunk UNIQUE (memory, model, field, chunk),
    CONSTRAINT fk_embeddings_memory FOREIGN KEY(memory) REFERENCES memories (seq) ON DELETE CASCADE,
    CONSTRAINT fk_embeddings_model FOREIGN KEY(model) REFERENCES embedding_models (number)
)
;
CREATE INDEX ix_embeddings_content_hash ON embeddings (content_hash)
;
CREATE TABLE memory_parents (
    workspace TEXT NOT NULL,
    parent_id TEXT NOT NULL,
    memory INTEGER NOT NULL,
    CONSTRAINT pk_memory_parents PRIMARY KEY (workspace, parent_id, memory),
    CONSTRAINT fk_memory_parents_memory FOREIGN KEY(memory) REFERENCES memories (seq) ON DELETE CASCADE
)
 WITHOUT ROWID
;
CREATE INDEX ix_memory_parents_memory ON memory_parents (memory)
;
CREATE TABLE memory_tags (
    workspace TEXT NOT NULL,
    tag TEXT NOT NULL,
    memory INTEGER NOT NULL,
    CONSTRAINT pk_memory_tags PRIMARY KEY (workspace, tag, memory),
    CONSTRAINT fk_memory_tags_memory FOREIGN KEY(memory) REFERENCES memories (seq) ON DELETE CASCADE
)
 WITHOUT ROWID
;
CREATE INDEX ix_memory_tags_memory ON memory_tags (memory)
;
CREATE TABLE memory_terms (
    memory INTEGER NOT NULL,
    analyser_version INTEGER NOT NULL,
    terms BLOB NOT NULL,
    CONSTRAINT pk_memory_terms PRIMARY KEY (memory),
    CONSTRAINT fk_memory_terms_memory FOREIGN KEY(memory) REFERENCES memories (seq) ON DELETE CASCADE
)
"""


def upgrade() -> None:
    """Creates every table of the first release."""
    for statement in _STATEMENTS.split(";"):
        op.execute(statement)
