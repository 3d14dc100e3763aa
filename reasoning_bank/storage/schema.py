"""Every table of the bank; `SCHEMA_REVISION` names this shape and the last migration that leads to it.

Moments are integer microseconds UTC (`timestamps`), JSON is compact text. The workspace is the first column of
every key. Short columns come before long texts, so that reading them does not follow overflow pages.
"""

from sqlalchemy import (
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TextClause,
    UniqueConstraint,
    text,
)

SCHEMA_REVISION = "0003"
"""Migrations are named by ascending four-digit numbers: a greater one than ours was written by a newer program."""

APPLICATION_ID = 0x52424E4B
"""Stamped into the file header ("RBNK"), so that another program's SQLite file is never taken for a bank."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _index_where(condition: str, name: str, *columns: str | TextClause) -> Index:
    """An index of those rows only that a condition holds for."""
    return Index(name, *columns, sqlite_where=text(condition), postgresql_where=text(condition))


alembic_version = Table("alembic_version", metadata, Column("version_num", Text, primary_key=True))

facts = Table(
    "bank_facts",  # a few values of the bank itself, such as the salt of redaction and the active embedding model
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

workspaces = Table(
    "workspaces",
    metadata,
    Column("name", Text, primary_key=True),
    Column("privacy_mode", Text),
    Column("generation", Integer, nullable=False, server_default=text("0")),
    Column("created_at", Integer, nullable=False),
)

BEGINNING = "substr(lower(trim(task)), 1, 64)"
"""What equal tasks have in common, whatever their capitals and blanks: as much of it as an index should hold."""

traces = Table(
    "traces",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("workspace", Text, ForeignKey("workspaces.name"), nullable=False),
    Column("id", Text, nullable=False),
    Column("external_id", Text),
    Column("outcome", Text, nullable=False),
    Column("domain", Text),
    Column("session", Text),
    Column("actor", Text),
    Column("time", Text),
    Column("created_at", Integer, nullable=False),
    Column("content_hash", Text, nullable=False),
    Column("tags", Text),
    Column("metadata", Text),
    Column("task", Text, nullable=False),
    Column("trajectory", Text),
    Column("source_kind", Text),
    Column("source_client", Text),
    Column("source_token", Text),
    UniqueConstraint("workspace", "id"),
    # Holds a workspace's rows in the order of storing, so that pages need no sort.
    Index("ix_traces_workspace", "workspace"),
    # Finds the same task again without keeping it twice.
    Index("ix_traces_beginning", "workspace", text(BEGINNING)),
)

_FILTERED = ("occurred_at", "outcome", "domain", "valid_from", "valid_to")

memories = Table(
    "memories",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("workspace", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("trace_id", Text, nullable=False),
    Column("external_id", Text),
    Column("outcome", Text, nullable=False),
    Column("domain", Text),
    Column("difficulty", Text),
    Column("session", Text),
    Column("position", Integer),
    Column("actor", Text),
    Column("time", Text),
    Column("occurred_at", Float, nullable=False),
    Column("origin", Text, nullable=False),
    Column("trust", Text, nullable=False),
    Column("valid_from", Integer),
    Column("valid_to", Integer),
    Column("used", Integer, nullable=False, server_default=text("0")),
    Column("helped", Integer, nullable=False, server_default=text("0")),
    Column("misled", Integer, nullable=False, server_default=text("0")),
    Column("ignored", Integer, nullable=False, server_default=text("0")),
    Column("created_at", Integer, nullable=False),
    Column("updated_at", Integer, nullable=False),
    Column("content_hash", Text, nullable=False),
    Column("superseded_by", Text),
    Column("deleted_at", Integer),
    Column("tags", Text),
    Column("parents", Text),
    Column("error_context", Text),
    Column("metadata", Text),
    Column("title", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("content", Text, nullable=False),
    Column("made_by", Text),
    Column("quarantined_for", Text),
    UniqueConstraint("workspace", "id"),
    ForeignKeyConstraint(["workspace", "trace_id"], ["traces.workspace", "traces.id"]),
    Index("ix_memories_workspace_trace_id", "workspace", "trace_id"),
    # Holds a workspace's rows in the order of storing, so that loads and pages need no sort.
    Index("ix_memories_workspace", "workspace"),
    # All that the filters of a query look at: 100,000 memories are filtered without touching their rows.
    Index("ix_memories_scope", "workspace", "deleted_at", "superseded_by", *_FILTERED, "id"),
    Index("ix_memories_workspace_content_hash", "workspace", "content_hash"),
    _index_where("superseded_by IS NOT NULL", "ix_memories_workspace_superseded_by", "workspace", "superseded_by"),
)

memory_tags = Table(
    "memory_tags",
    metadata,
    Column("workspace", Text, primary_key=True),
    Column("tag", Text, primary_key=True),
    Column("memory", Integer, ForeignKey("memories.seq", ondelete="CASCADE"), primary_key=True),
    Index("ix_memory_tags_memory", "memory"),
    sqlite_with_rowid=False,
)

memory_parents = Table(
    "memory_parents",  # which memories came of a memory: the way back is in memories.parents
    metadata,
    Column("workspace", Text, primary_key=True),
    Column("parent_id", Text, primary_key=True),
    Column("memory", Integer, ForeignKey("memories.seq", ondelete="CASCADE"), primary_key=True),
    Index("ix_memory_parents_memory", "memory"),
    sqlite_with_rowid=False,
)

memory_sources = Table(
    "memory_sources",  # further traces that taught the same: the first one is in memories.trace_id
    metadata,
    Column("memory", Integer, ForeignKey("memories.seq", ondelete="CASCADE"), primary_key=True),
    Column("trace_id", Text, primary_key=True),
    Column("created_at", Integer, nullable=False),
    sqlite_with_rowid=False,
)

memory_contradictions = Table(
    "memory_contradictions",  # pairs that cannot both hold, each written once, the earlier memory first
    metadata,
    Column("memory", Integer, ForeignKey("memories.seq", ondelete="CASCADE"), primary_key=True),
    Column("other", Integer, ForeignKey("memories.seq", ondelete="CASCADE"), primary_key=True),
    Column("reason", Text, nullable=False),
    Column("created_at", Integer, nullable=False),
    Index("ix_memory_contradictions_other", "other"),
    sqlite_with_rowid=False,
)

memory_terms = Table(
    "memory_terms",  # the analyser's packed terms: apart from memories, so that building an index reads no texts
    metadata,
    Column("memory", Integer, ForeignKey("memories.seq", ondelete="CASCADE"), primary_key=True),
    Column("analyser_version", Integer, nullable=False),
    Column("terms", LargeBinary, nullable=False),
)

embedding_models = Table(
    "embedding_models",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("model_id", Text, nullable=False, unique=True),
    Column("identity", Text, nullable=False),
    Column("created_at", Integer, nullable=False),
)

embeddings = Table(
    "embeddings",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("memory", Integer, ForeignKey("memories.seq", ondelete="CASCADE"), nullable=False),
    Column("model", Integer, ForeignKey("embedding_models.number"), nullable=False),
    Column("field", Text, nullable=False),
    Column("chunk", Integer, nullable=False),
    Column("weight", Float, nullable=False),
    Column("dim", Integer, nullable=False),
    Column("precision", Text, nullable=False),
    Column("content_hash", Text, nullable=False),
    Column("vector", LargeBinary, nullable=False),
    UniqueConstraint("memory", "model", "field", "chunk"),
    Index("ix_embeddings_content_hash", "content_hash"),
)

changes = Table(
    "change_log",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("workspace", Text, nullable=False),
    Column("memory_id", Text, nullable=False),
    Column("op", Text, nullable=False),
    # The log names what to look at again: one row per memory and kind of change is enough, and it never outgrows us.
    UniqueConstraint("workspace", "memory_id", "op"),
    Index("ix_change_log_workspace", "workspace"),
    sqlite_autoincrement=True,
)

outbox = Table(
    "outbox",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("workspace", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("run_after", Integer, nullable=False, server_default=text("0")),
    Column("scheduled_at", Integer, nullable=False),
    Column("lease_owner", Text),
    Column("lease_until", Integer),
    Column("dead_at", Integer),
    Column("created_at", Integer, nullable=False),
    Column("last_error", Text),
    Column("payload", Text, nullable=False),
    Column("priority", Integer, nullable=False, server_default=text("0")),
    # In the order in which work is taken: the first rows are found at once, however many wait.
    _index_where("dead_at IS NULL", "ix_outbox_due", "kind", text("priority DESC"), "seq"),
    _index_where("lease_owner IS NOT NULL", "ix_outbox_leased", "lease_until"),
    _index_where("dead_at IS NOT NULL", "ix_outbox_dead", "dead_at"),
    sqlite_autoincrement=True,
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("workspace", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("body_hash", Text, nullable=False),
    Column("trace_id", Text, nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("answer", Text),
)

feedback = Table(
    "feedback",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("workspace", Text, nullable=False),
    Column("memory_id", Text, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("actor", Text),
    Column("note", Text),
    Column("created_at", Integer, nullable=False),
    Column("task_hash", Text),
    Index("ix_feedback_workspace_memory_id", "workspace", "memory_id"),
)

servings = Table(
    "servings",  # which memories were given for which task: kept for a while, so that outcomes with and without compare
    metadata,
    Column("workspace", Text, primary_key=True),
    Column("memory_id", Text, primary_key=True),
    Column("task_hash", Text, primary_key=True),
    Column("served_at", Integer, nullable=False),
    Index("ix_servings_served_at", "served_at"),
    sqlite_with_rowid=False,
)

memory_history = Table(
    "memory_history",  # what was done to memories without being asked: merges, changes of trust, pruning
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("workspace", Text, nullable=False),
    Column("memory_id", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("before", Text),
    Column("after", Text),
    Column("created_at", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Index("ix_memory_history_workspace_memory_id", "workspace", "memory_id"),
)

judgements = Table(
    "judgements",  # how a trace ended, where the assistant did not say
    metadata,
    Column("workspace", Text, primary_key=True),
    Column("trace_id", Text, primary_key=True),
    Column("outcome", Text, nullable=False),
    Column("confidence", Float, nullable=False),
    Column("judged_by", Text, nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("reason", Text, nullable=False),
)

rejections = Table(
    "rejections",  # what the gate refused: enough to see why, never the text itself
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("workspace", Text, nullable=False),
    Column("trace_id", Text),
    Column("made_by", Text),
    Column("created_at", Integer, nullable=False),
    Column("title", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Index("ix_rejections_workspace_trace_id", "workspace", "trace_id"),
)

_COUNTED = ("calls", "failures", "from_cache", "from_templates")
_SPENT = ("input_tokens", "cached_tokens", "output_tokens", "cost_micros")

llm_usage = Table(
    "llm_usage",  # what was asked of language models, per UTC day: budgets count over all processes
    metadata,
    Column("day", Text, primary_key=True),
    Column("workspace", Text, primary_key=True),
    Column("purpose", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    *(Column(name, Integer, nullable=False, server_default=text("0")) for name in (*_COUNTED, *_SPENT)),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("workspace", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("expires_at", Integer),
    Column("revoked_at", Integer),
)

index_state = Table(
    "index_state",
    metadata,
    Column("workspace", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("generation", Integer, nullable=False),
    Column("model_id", Text, nullable=False),
    Column("dim", Integer, nullable=False),
    Column("applied_seq", Integer, nullable=False),
    Column("size", Integer, nullable=False),
    Column("digest", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("updated_at", Integer, nullable=False),
)

metric_rollups = Table(
    "metric_rollups",  # figures of all processes by quarter of an hour, so that trends outlive them
    metadata,
    Column("start", Integer, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("count", Integer, nullable=False),
    Column("errors", Integer, nullable=False),
    *(Column(name, Float, nullable=False) for name in ("total", "smallest", "largest", "last")),
    Column("sketch", LargeBinary),
    sqlite_with_rowid=False,
)

tuning = Table(
    "tuning",  # settings that were changed on advice, and what came of it
    metadata,
    Column("id", Integer, primary_key=True),
    Column("setting", Text, nullable=False),
    Column("value", Text, nullable=False),
    Column("previous", Text, nullable=False),
    Column("metric", Text, nullable=False),
    Column("before", Float),
    Column("after", Float),
    Column("state", Text, nullable=False),
    Column("applied_at", Integer, nullable=False),
    Column("decided_at", Integer),
    Column("reason", Text, nullable=False),
)
