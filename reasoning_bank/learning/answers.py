"""The answer to a stored call as it is kept with its key, so that the same call is answered alike."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Connection

from reasoning_bank.errors import InputError
from reasoning_bank.records import JsonValue, Judgement, StoredMemory, StoreResult
from reasoning_bank.storage import traces


def remember(connection: Connection, workspace: str, result: StoreResult, *, body_hash: str | None = None) -> None:
    """Keep an answer with its key; `body_hash` names the call that is answered so from now on."""
    answer = cast("Mapping[str, JsonValue]", json.loads(json.dumps(asdict(result))))
    traces.put_answer(connection, workspace, result.idempotency_key, answer, body_hash=body_hash)


def remembered(connection: Connection, workspace: str, key: str) -> StoreResult | None:
    """Return the answer that is kept with a key, or None."""
    stored = traces.find_key(connection, workspace, key)
    return answer_of(stored.answer) if stored and stored.answer else None


def answer_of(stored: Mapping[str, JsonValue]) -> StoreResult:
    """Return a kept answer; what older releases did not write has its default."""
    values = cast("dict[str, Any]", dict(stored))
    judgement = cast("dict[str, Any] | None", values.get("judgement"))
    return StoreResult(
        trace_id=values["trace_id"],
        memories=tuple(StoredMemory(**row) for row in values["memories"]),
        distillation=values["distillation"],
        idempotency_key=values["idempotency_key"],
        distil_request=values["distil_request"],
        queued=values.get("queued", False),
        judgement=Judgement(**judgement) if judgement else None,
    )


def digest(value: object) -> str:
    """Return the sha256 hex digest of anything that JSON can say, with moments as ISO 8601."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=_iso, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def given(id: str | None) -> str:
    """Return an id that must be there."""
    if id is None:
        raise InputError("an imported trace or memory has no id: derive one from its words first")
    return id


def _iso(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"no JSON for {type(value).__name__}")
