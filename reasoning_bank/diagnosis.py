"""What `doctor` checks in an open bank: each thing with what was found and, where it is not well, what to do."""

import os
import shutil
import stat
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, cast

import anyio.to_thread
import psutil

from reasoning_bank.errors import UpstreamError
from reasoning_bank.figures import Figures
from reasoning_bank.llm.providers import try_connection
from reasoning_bank.opening import Rooms
from reasoning_bank.settings import Settings
from reasoning_bank.storage import embeddings, integrity, outbox
from reasoning_bank.storage.schema import SCHEMA_REVISION
from reasoning_bank.text.tokens import ESTIMATED

LITTLE_ROOM_BYTES = 200 << 20
_NEARLY_SPENT = 0.95
"""Share of a budget from which a call of usual size hardly fits."""
MODEL_WAIT_S = 10.0


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at; `advice` says what to do unless it is well."""

    name: str
    status: Literal["ok", "warning", "failure"]
    detail: str
    advice: str | None = None


async def diagnose(
    rooms: Rooms, figures: Figures, settings: Settings, *, now: datetime, ask_models: bool = False
) -> list[Check]:
    """Look at every part of an open bank; changes nothing.

    Args:
        ask_models: send each language model a question of a few tokens, which may cost money.

    Raises:
        StorageError: the bank cannot even be read.
    """
    path = rooms.database.path
    return [
        *await anyio.to_thread.run_sync(lambda: list(_directory(settings.data_dir))),
        await anyio.to_thread.run_sync(_database, path),
        await _model(rooms),
        await anyio.to_thread.run_sync(_tokenizer, rooms),
        _index(rooms, settings),
        await _background(rooms, now),
        *await _alerts(figures),
        await anyio.to_thread.run_sync(_processes, path),
        *[check async for check in _language_models(rooms, ask=ask_models)],
    ]


def _directory(data_dir: Path) -> Iterator[Check]:
    mode = stat.S_IMODE(data_dir.stat().st_mode)
    open_to_others = os.name == "posix" and mode & 0o077
    yield Check(
        "data directory",
        "warning" if open_to_others else "ok",
        f"{data_dir} (permissions {mode:o})",
        f"other users can look into it: chmod 700 {data_dir}" if open_to_others else None,
    )
    free = shutil.disk_usage(data_dir).free
    little = free < LITTLE_ROOM_BYTES
    yield Check(
        "disk",
        "warning" if little else "ok",
        f"{free / 1e9:.1f} GB free",
        "free some space: on a full disk nothing new can be stored" if little else None,
    )


def _database(path: Path) -> Check:
    found = integrity.check(path, quick=True)
    detail = f"{path.name}, {path.stat().st_size / 1e6:.1f} MB, schema {SCHEMA_REVISION}"
    if found.sound:
        return Check("database", "ok", detail)
    advice = "copy the data directory, then restore a backup or export what can still be read"
    return Check("database", "failure", f"{detail}: {'; '.join(found.problems[:3])}", advice)


async def _model(rooms: Rooms) -> Check:
    ready = await rooms.model.wait_ready(MODEL_WAIT_S)
    identity = rooms.model.identity
    if not ready or identity is None:
        advice = "run `reasoning-bank assets install`; until then search works by keyword"
        return Check("embedding model", "warning", rooms.model.state.reason, advice)
    active = await rooms.database.read(embeddings.active_model)
    coverage = await rooms.database.read(lambda c: embeddings.coverage(c, identity.model_id))
    detail = f"{identity.model_id}, {coverage.embedded} of {coverage.live} memories embedded"
    if active not in (None, identity.model_id):
        return Check("embedding model", "warning", f"{detail}; {active} answers until it has all", "wait")
    return Check("embedding model", "ok", detail)


def _tokenizer(rooms: Rooms) -> Check:
    rooms.tokens.load()
    if rooms.tokens.name == ESTIMATED:
        return Check("tokenizer", "warning", "token counts are estimates", "run `reasoning-bank assets install`")
    return Check("tokenizer", "ok", f"{rooms.tokens.name}, exact")


def _index(rooms: Rooms, settings: Settings) -> Check:
    if rooms.indexer is None:
        return Check("vector index", "ok", "none wanted: exact search serves every query")
    report = rooms.indexer.report()
    if report.problem:
        return Check("vector index", "warning", report.problem, "exact search serves; it is tried again by itself")
    owner = "written by this process" if report.owner else "not owned by this process"
    what = {"closed": "not needed yet: exact search serves"}.get(report.status, f"{report.status}, {owner}")
    return Check("vector index", "ok", f"chroma {report.mode}, {what} (search: {settings.vectors.search})")


async def _background(rooms: Rooms, now: datetime) -> Check:
    counts = await rooms.database.read(lambda c: outbox.counts(c, now=now))
    detail = f"{counts.pending} waiting, {counts.leased} under way, {counts.dead} given up"
    if not counts.dead:
        return Check("background work", "ok", detail)
    last = await rooms.database.read(lambda c: outbox.dead(c, limit=1))
    advice = "mend what the error names, then run `reasoning-bank doctor --retry`"
    return Check("background work", "failure", f"{detail}; last error: {last[0].last_error}", advice)


async def _alerts(figures: Figures) -> list[Check]:
    """Each threshold that the processes of this bank have passed lately, by what they wrote."""
    passed = [
        Check(f"alert {alert.level}", "warning", alert.line, "`reasoning-bank advise` says what to change")
        for alert in await figures.stored_alerts()
    ]
    return passed or [Check("alerts", "ok", "no threshold is passed")]


async def _language_models(rooms: Rooms, *, ask: bool) -> AsyncIterator[Check]:
    if rooms.language is None:
        yield Check("language model", "ok", "none: lessons are distilled by rules, or by the assistant")
        return
    today = cast("Mapping[str, Any]", await rooms.language.model.budget.today())
    for limit in today["limits"]:
        near = limit["spent"] >= _NEARLY_SPENT * limit["limit"]
        yield Check(
            "model budget",
            "warning" if near else "ok",
            f"{limit['spent']:,} of {limit['limit']:,} {limit['name']} today",
            f"nothing more is asked before {today['resets_at']}, or raise it under [llm]" if near else None,
        )
    for target in rooms.language.targets:
        name = f"model {target.name}"
        if not ask:
            yield Check(name, "ok", "not asked (`doctor --llm` asks it a question of a few tokens)")
            continue
        try:
            reply = await try_connection(target.client, model=target.model)
        except UpstreamError as error:
            yield Check(name, "failure", str(error), "check llm.model, its provider's base_url and api_key")
        else:
            tokens = reply.usage.input_uncached + reply.usage.input_cached + reply.usage.output
            yield Check(name, "ok", f"{reply.model} answered, {tokens} tokens")


def _processes(path: Path) -> Check:
    others = [f"{process.info['name']} ({process.pid})" for process in _users_of(path)]
    return Check("other processes", "ok", ", ".join(others) or "none has this bank open")


def _users_of(path: Path) -> Iterator[psutil.Process]:
    for process in psutil.process_iter(["name"]):
        try:
            if process.pid != os.getpid() and any(Path(file.path) == path for file in process.open_files()):
                yield process
        except (psutil.Error, OSError):  # gone meanwhile, or another user's
            continue
