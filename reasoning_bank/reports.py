"""What the bank says of itself and of single items: read from the truth and from the rooms, never remembered."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from functools import partial
from typing import Literal, cast, get_args

from sqlalchemy import Connection

from reasoning_bank.errors import ModelUnavailableError, NotFoundError, StorageError
from reasoning_bank.figures import Figures
from reasoning_bank.learning.work import EMBED
from reasoning_bank.monitoring.metrics import PerformanceMonitor
from reasoning_bank.monitoring.views import full
from reasoning_bank.opening import Rooms
from reasoning_bank.records import JsonValue, Memory, Retrieval, Strategy, Trace
from reasoning_bank.storage import embeddings, lineage, memories, outbox, rejections, traces, workspaces
from reasoning_bank.storage.database import Database

Kind = Literal["workspace", "tag", "domain", "memory", "trace"]
Json = dict[str, JsonValue]

_PAGE = 200

# What goes out over the protocol names no path and no statement; `doctor` and the log tell the rest.
_MODEL = {
    "ready": "",
    "loading": "the embedding model is loading; search works by keyword meanwhile",
    "unavailable": "the embedding model is unavailable and search works by keyword: run "
    "`reasoning-bank assets install`, or `reasoning-bank doctor` for the reason",
}
_INDEX = "the vector index failed and is tried again; exact search serves meanwhile"


def count_search(monitor: PerformanceMonitor, found: Retrieval) -> None:
    """Count how a search was answered, and time its stages where it was not kept from an earlier one."""
    monitor.count(f"searches.{found.path}")
    if found.cached:
        monitor.count("searches.cached")
    else:
        monitor.observe_stages("retrieve_memory", found.timings_ms)
    for name in found.degraded:
        monitor.count(f"degraded.{name}")


def completions(connection: Connection, kind: Kind, prefix: str, workspace: str) -> list[str]:
    """Up to 100 names of a kind that begin with a prefix, in order."""
    match kind:
        case "workspace":
            return workspaces.names_starting(connection, prefix)
        case "tag":
            return workspaces.tags_starting(connection, workspace, prefix)
        case "domain":
            return workspaces.domains_starting(connection, workspace, prefix)
        case "memory":
            return workspaces.memory_ids_starting(connection, workspace, prefix)
        case "trace":
            return workspaces.trace_ids_starting(connection, workspace, prefix)


def trace_page(
    connection: Connection, *, workspace: str, after: int, limit: int
) -> list[tuple[int, Trace, Sequence[Memory]]]:
    """(seq, trace, its memories) of the next traces after a seq, in the order they were stored."""
    page = traces.list_page(connection, workspace, after=after, limit=limit)
    its = memories.of_traces(connection, workspace, [each.trace.id for each in page])
    links = lineage.links(connection, workspace, [memory.id for several in its.values() for memory in several])
    return [
        (each.seq, each.trace, [replace(memory, links=links[memory.id]) for memory in its.get(each.trace.id, ())])
        for each in page
    ]


async def every_trace(database: Database, workspace: str | None) -> AsyncIterator[tuple[Trace, Sequence[Memory]]]:
    """Every trace of a workspace, or of all, with its memories, in the order they were stored."""
    names = [workspace] if workspace is not None else await database.read(workspace_names)
    for name in names:
        after = 0
        while page := await database.read(partial(trace_page, workspace=name, after=after, limit=_PAGE)):
            for seq, trace, its in page:
                after = seq
                yield trace, its


def workspace_names(connection: Connection) -> list[str]:
    """The name of every workspace."""
    return [space.name for space in workspaces.listing(connection)]


def workspace_rows(connection: Connection) -> list[Json]:
    """Every workspace with what it holds."""
    return [
        {
            "name": space.name,
            "privacy_mode": space.privacy_mode,
            "created_at": space.created_at.isoformat(),
            **_counts(connection, space.name),
        }
        for space in workspaces.listing(connection)
    ]


async def stats(rooms: Rooms, figures: Figures, monitor: PerformanceMonitor, workspace: str, *, now: datetime) -> Json:
    """Counts of a workspace, and of this process: model, background work, index, caches, alerts, latencies."""
    counts = await rooms.database.read(lambda c: _counts(c, workspace))
    return {
        "workspace": workspace,
        **counts,
        "model": _model(rooms),
        "background": await _background(rooms, now),
        "index": _index(rooms),
        "refused": cast("JsonValue", await rooms.database.read(lambda c: rejections.counts(c, workspace))),
        "language": await _language(rooms, workspace),
        "caches": cast("JsonValue", await rooms.caches.statistics()),
        "batches": _batches(rooms),
        "shared_searches": rooms.retriever.flight.shared,
        "language_models": await _language_models(rooms),
        "alerts": [alert.plain() for alert in figures.alerts()],
        **performance(monitor),
    }


def measured(monitor: PerformanceMonitor, name: str | None) -> Json:
    """Every figure of this process in every window, or those of a name; raises NotFoundError where there is none."""
    told = full(monitor.snapshot(), name)
    if name is not None and not any(told[kind] for kind in ("operations", "counters", "gauges")):
        raise NotFoundError(f"nothing named {name!r} was measured")
    return told


def performance(monitor: PerformanceMonitor) -> Json:
    """Counters and latencies of this process, and how many memories each strategy returned and how many helped."""
    statistics = monitor.get_statistics()
    counters = cast("Json", statistics["counters"])
    strategies: Json = {
        name: {kind: counters.pop(f"{kind}.{name}", 0) for kind in ("returned", "helped")}
        for name in get_args(Strategy)
    }
    return {**statistics, "strategies": strategies}


async def health(rooms: Rooms, *, now: datetime) -> Json:
    """Each part of the bank with its status, since when, and why; the whole is as well as its worst part."""
    parts = await _parts(rooms, now)
    for name, part in parts.items():
        seen = rooms.standing.get(name)
        if seen is None or seen[0] != part["status"]:
            rooms.standing[name] = seen = (part["status"], now)
        part["since"] = seen[1].isoformat(timespec="seconds")
    order = ("ok", "degraded", "down")
    worst = max((str(part["status"]) for part in parts.values()), key=order.index)
    return {"status": worst, "parts": cast("JsonValue", parts)}


async def _parts(rooms: Rooms, now: datetime) -> dict[str, Json]:
    background: Json = {}
    try:
        background = await _background(rooms, now)
        storage: Json = {"status": "ok"}
    except StorageError as error:
        storage = {"status": "down", "reason": f"storage: {error.code}; `reasoning-bank doctor` says what to do"}
    state = rooms.model.state
    died = [
        f"{task.name} ended by {type(task.error).__name__}"
        for task in (*rooms.tasks, *rooms.watched)
        if task.error is not None
    ]
    if rooms.models.error is not None:
        died.append(f"embedding of what is missing ended by {type(rooms.models.error).__name__}")
    dead = background.get("dead", 0)
    index = rooms.indexer.report() if rooms.indexer else None
    return {
        "storage": storage,
        "model": _part(state.status == "ready", _MODEL[state.status]),
        "background": _part(not died and not dead, "; ".join(died) or f"{dead} pieces of work were given up"),
        "index": _part(index is None or not index.problem, _INDEX),
    }


def refuse_given_up(connection: Connection, model_id: str, *, now: datetime) -> None:
    """Raise ModelUnavailableError where nothing is under way to embed what is missing, because it was given up."""
    counts = outbox.counts(connection, now=now, kind=EMBED)
    coverage = embeddings.coverage(connection, model_id)
    missing = coverage.live - coverage.embedded
    if missing and counts.dead and not counts.pending and not counts.leased:
        what = "1 memory" if missing == 1 else f"{missing} memories"
        raise ModelUnavailableError(f"{what} could not be embedded: `reasoning-bank doctor` says why")


def _part(well: bool, reason: str) -> Json:
    return {"status": "ok"} if well else {"status": "degraded", "reason": reason}


def _counts(connection: Connection, workspace: str) -> Json:
    # The model whose vectors answer, whether or not this process can open it.
    counts = workspaces.counts(connection, workspace, model_id=embeddings.active_model(connection))
    return cast("Json", asdict(counts))


def _model_id(rooms: Rooms) -> str | None:
    serving = rooms.models.serving
    identity = serving.identity if serving else None
    return identity.model_id if identity else None


def _model(rooms: Rooms) -> Json:
    state = rooms.model.state
    return {
        "status": state.status,
        "reason": _MODEL[state.status],
        "serving": _model_id(rooms),
        "loaded_in_s": round(state.seconds, 3),
    }


async def _language(rooms: Rooms, workspace: str) -> JsonValue:
    """What a workspace asked of language models today; None where none is configured."""
    return await rooms.language.model.statistics(workspace) if rooms.language else None


async def _language_models(rooms: Rooms) -> JsonValue:
    """What all workspaces asked today, and the connections of this process; None where none is configured."""
    if rooms.language is None:
        return None
    pools = {name: cast("JsonValue", asdict(pool.statistics())) for name, pool in rooms.language.pools.items()}
    return {**await rooms.language.model.statistics(), "connections": cast("JsonValue", pools)}


def _batches(rooms: Rooms) -> JsonValue:
    serving = rooms.models.serving
    return cast("JsonValue", asdict(serving.generator.statistics()) if serving else {})


async def _background(rooms: Rooms, now: datetime) -> Json:
    counts = await rooms.database.read(lambda c: outbox.counts(c, now=now))
    return {
        "pending": counts.pending,
        "leased": counts.leased,
        "dead": counts.dead,
        "oldest_s": round((now - counts.oldest).total_seconds(), 1) if counts.oldest else 0,
    }


def _index(rooms: Rooms) -> JsonValue:
    if rooms.indexer is None:
        return {"mode": "off", "status": "closed"}
    report = rooms.indexer.report()
    return cast("JsonValue", asdict(report) | {"problem": _INDEX if report.problem else ""})
