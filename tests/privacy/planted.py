"""Made-up secrets brought in by every door of a real bank, and looked for in every byte it leaves on disk."""

import asyncio
import json
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import anyio.to_thread

from reasoning_bank.bank import ReasoningBank
from reasoning_bank.mcp.logs import LazyRedaction
from reasoning_bank.records import (
    ErrorContext,
    ImportedMemory,
    ImportedTrace,
    JsonValue,
    MemoryItem,
    NewTrace,
    Query,
    Source,
)
from reasoning_bank.settings import Settings, load_settings
from reasoning_bank.storage import backup
from tests.privacy.samples import ASSIGNMENTS, HOLE, PROVIDER_KEYS

SPACE = "w"
LESSON = "Open one connection for the whole export job and reuse it, then the nightly run takes two minutes."
QUESTION = "Why does the nightly export time out"
LOGGER = logging.getLogger("tests.privacy.planted")

Door = Callable[[ReasoningBank, str, str], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Planted:
    """A secret in the text it is brought in with.

    Attributes:
        kind: of which provider, or how it is assigned.
        is_key: its shape alone is proof.
    """

    kind: str
    secret: str
    text: str
    is_key: bool

    @property
    def fragments(self) -> tuple[bytes, ...]:
        """What must not be found anywhere: the end of each of its lines."""
        lines = [line for line in self.secret.split("\n") if not line.startswith("-----")]
        return tuple(line[-16:].encode() for line in lines)


def planted(number: int, rng: random.Random) -> list[Planted]:
    """So many secrets: three of four are keys of providers, the kinds in turn."""
    keys = [(kind, make) for kind, make in PROVIDER_KEYS.items()]
    found: list[Planted] = []
    for place in range(number):
        if place % 4:
            kind, make = keys[(place - place // 4) % len(keys)]
            secret = make(rng)
            found.append(Planted(kind, secret, rng.choice(["{}", "used {} here", "key: {}"]).format(secret), True))
        else:
            kind, template, make = ASSIGNMENTS[place // 4 % len(ASSIGNMENTS)]
            secret = make(rng)
            found.append(Planted(kind, secret, template.replace(HOLE, secret), False))
    rng.shuffle(found)
    return found


def _trace(name: str, **fields: Any) -> NewTrace:
    return replace(NewTrace(f"Task {name}", "success"), **fields)


def _item(name: str, **fields: Any) -> MemoryItem:
    plain = MemoryItem(f"Task {name}", title=f"Reuse connection {name}", description=f"For {name}.", content=LESSON)
    return replace(plain, **fields)


def _stored(**fields: Any) -> Door:
    """A door of `store_trace`: fields of the trace, with "$" for the text."""

    async def door(bank: ReasoningBank, name: str, text: str) -> object:
        return await bank.store_trace(
            SPACE, _trace(name, **{key: _filled(value, text) for key, value in fields.items()})
        )

    return door


def _drafted(**fields: Any) -> Door:
    async def door(bank: ReasoningBank, name: str, text: str) -> object:
        item = _item(name, **{key: _filled(value, text) for key, value in fields.items()})
        return await bank.store_trace(SPACE, _trace(name), memories=[item])

    return door


def _filled(value: Any, text: str) -> Any:
    if isinstance(value, str):
        return value.replace("$", text)
    if isinstance(value, tuple):
        return tuple(_filled(part, text) for part in cast(tuple[Any, ...], value))
    if isinstance(value, list):
        return [_filled(part, text) for part in cast(list[Any], value)]
    if isinstance(value, dict):
        return {_filled(key, text): _filled(part, text) for key, part in cast(dict[str, Any], value).items()}
    return value


async def _error(bank: ReasoningBank, name: str, text: str) -> object:
    context = ErrorContext(text, f"{text} {LESSON}", f"do: {text}")
    return await bank.store_trace(SPACE, _trace(name), memories=[_item(name, error_context=context)])


async def _key(bank: ReasoningBank, name: str, text: str) -> object:
    first = await bank.store_trace(SPACE, _trace(name), idempotency_key=text)
    again = await bank.store_trace(SPACE, _trace(name), idempotency_key=text)
    assert again.replayed
    assert again.trace_id == first.trace_id
    return first


async def _client(bank: ReasoningBank, name: str, text: str) -> object:
    return await bank.store_trace(SPACE, _trace(name), source=Source("mcp", client=text))


async def _import(bank: ReasoningBank, name: str, text: str) -> object:
    report = _trace(name, task=f"{name} {text}", metadata={"note": text})
    row = ImportedMemory(_item(name, text=f"{name} {text}", external_id=text[:400], tags=("plain",)), id=f"m_{name}")
    return await bank.store_many(SPACE, [ImportedTrace(report, (row,), id=f"tr_{name}")])


async def _import_ids(bank: ReasoningBank, name: str, text: str) -> object:
    row = ImportedMemory(_item(name), id=f"m {text}", superseded_by=None)
    return await bank.store_many(SPACE, [ImportedTrace(_trace(name), (row,), id=f"tr {text}")])


async def _capture(bank: ReasoningBank, name: str, text: str) -> object:
    return await bank.capture_knowledge(SPACE, f"{QUESTION} {name} {text}?", f"{LESSON} {text}", context=text)


async def _memory_id(bank: ReasoningBank, name: str) -> str:
    stored = await bank.store_trace(SPACE, _trace(name), memories=[_item(name)])
    id_ = stored.memories[0].id
    assert id_ is not None
    return id_


async def _update(bank: ReasoningBank, name: str, text: str) -> object:
    changes: dict[str, JsonValue] = {"content": f"{LESSON} {text}", "error_context": {"failure_pattern": text}}
    return await bank.update_memory(SPACE, await _memory_id(bank, name), changes)


async def _note(bank: ReasoningBank, name: str, text: str) -> object:
    id_ = await _memory_id(bank, name)
    return await bank.rate(SPACE, [id_], "helped", note=text, actor=f"agent {text}")


async def _query(bank: ReasoningBank, name: str, text: str) -> object:
    # Not where others store: an echo of what was just served is refused.
    return await bank.retrieve("asked", Query(f"{QUESTION} {name} {text}", min_score=0))


async def _log(bank: ReasoningBank, name: str, text: str) -> object:
    LOGGER.warning("%s: calling with %s", name, text)
    try:
        int(text)
    except ValueError:
        LOGGER.exception("failed")
    return bank


async def _model(bank: ReasoningBank, name: str, text: str) -> object:
    """The script answers the task of this name with the text; see `script`."""
    del text
    run: list[JsonValue] = [
        {"role": "user", "content": f"Task {name}"},
        {"role": "assistant", "content": "I open one connection for the export job."},
        {"role": "tool", "content": "the export took two minutes"},
    ]
    return await bank.store_trace(SPACE, NewTrace(f"Task {name}", trajectory=run), wait_s=30)


DOORS: Mapping[str, tuple[Door, int]] = {
    "task": (_stored(task="Task with $"), 60_000),
    "trajectory": (
        _stored(trajectory=[{"role": "user", "content": "$"}, {"tool": "sh", "args": {"cmd": "$"}}]),
        60_000,
    ),
    "trajectory as text": (_stored(trajectory="I ran it.\n$\nIt worked."), 60_000),
    "tags": (_stored(tags=("plain", "$")), 100),
    "metadata": (_stored(metadata={"env": {"list": ["$"]}, "x $": 1}), 60_000),
    "names of a trace": (_stored(domain="$", session="s $", actor="a $", external_id="$", time="$"), 400),
    "idempotency key": (_key, 400),
    "client": (_client, 400),
    "lesson": (_drafted(title="Reuse $", description="For $.", content=f"{LESSON} $"), 60_000),
    "error of a lesson": (_error, 60_000),
    "tags of a lesson": (_drafted(tags=("$",), metadata={"$": "$"}), 100),
    "names of a lesson": (_drafted(domain="$", difficulty="$", external_id="$", actor="$"), 400),
    "import": (_import, 60_000),
    "ids of an import": (_import_ids, 400),
    "capture": (_capture, 60_000),
    "update": (_update, 60_000),
    "note": (_note, 60_000),
    "query": (_query, 60_000),
    "log": (_log, 60_000),
    "answer of a model": (_model, 60_000),
}
"""Every way text comes in, and the longest text that fits."""


@dataclass(frozen=True, slots=True)
class Leak:
    """A secret that was found again."""

    door: str
    secret: Planted
    places: tuple[str, ...]


def assigned_doors(secrets: Sequence[Planted]) -> list[tuple[str, Planted]]:
    """Each secret with its door: the doors in turn, but for those it is too long for."""
    names = list(DOORS)
    pairs: list[tuple[str, Planted]] = []
    for place, secret in enumerate(secrets):
        turn = names[place % len(names) :] + names
        pairs.append((next(name for name in turn if len(secret.text) <= DOORS[name][1] - 20), secret))
    return pairs


def script(file: Path, pairs: Sequence[tuple[str, Planted]]) -> None:
    """Write the answers of the model: judgement and lesson hold the secret of the task they are about."""
    replies: list[str] = []
    for place, (door, secret) in enumerate(pairs):
        if door != "answer of a model":
            continue
        reason, said = json.dumps(f"the end shows {secret.text}"), json.dumps(f"{LESSON} {secret.text}")
        match = f"match = 'Task n{place}x'"
        replies += [
            f'[[reply]]\npurpose = "judge"\n{match}\n'
            f'json = {{ outcome = "success", confidence = 0.8, reason = {reason} }}',
            f'[[reply]]\npurpose = "distil"\n{match}\njson = {{ memories = [{{ title = "Reuse the connection {place}",'
            f' description = "For exports, not for single rows.", content = {said} }}] }}',
        ]
    others = '[[reply]]\npurpose = "distil"\njson = { memories = [] }\n[[reply]]\ntext = "I cannot say."'
    file.write_text("\n".join([*replies, others]), encoding="utf-8")


@asynccontextmanager
async def _logging_to(file: Path, settings: Settings) -> AsyncGenerator[None]:
    handler = await anyio.to_thread.run_sync(lambda: logging.FileHandler(file, encoding="utf-8"))
    handler.addFilter(LazyRedaction(settings))
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()


def settings_of(directory: Path, **more: Any) -> Settings:
    """A bank with a scripted model beside it."""
    provider = {"kind": "scripted", "script": str(directory / "script.toml")}
    return load_settings(
        data_dir=directory / "bank",
        embeddings={"backend": "hashing"},
        compression={"tokenizer": "estimated"},
        durability="process",
        background={"poll_s": 0.05},
        llm={"model": "script:m", "providers": {"script": provider}},
        **more,
    )


async def leaks(directory: Path, pairs: Sequence[tuple[str, Planted]], settings: Settings) -> list[Leak]:
    """Bring every secret in by its door, then look for all of them: on disk, open and closed, in a backup, in rows."""
    await anyio.to_thread.run_sync(script, directory / "script.toml", pairs)
    async with _logging_to(directory / "bank.log", settings), ReasoningBank(settings) as bank:
        for place, (door, secret) in enumerate(pairs):
            # A name that is part of no other: "n1x" is not in "n11x".
            await DOORS[door][0](bank, f"n{place}x", secret.text)
        async with asyncio.timeout(300):
            await bank.wait_until_searchable()
        exported = [repr(row) async for row in bank.export_rows(None)]
        open_files = await anyio.to_thread.run_sync(_contents, directory)
        await anyio.to_thread.run_sync(backup.create, settings.data_dir / "bank.sqlite3", directory / "backup.sqlite3")
    contents = {**open_files, **{f"{name} (closed)": held for name, held in _contents(directory).items()}}
    contents["export"] = "\n".join(exported).encode("utf-8", "surrogatepass")
    found: list[Leak] = []
    for door, secret in pairs:
        places = tuple(name for name, held in contents.items() if any(part in held for part in secret.fragments))
        if places:
            found.append(Leak(door, secret, places))
    return found


def _contents(directory: Path) -> dict[str, bytes]:
    files = [file for file in directory.rglob("*") if file.is_file() and file.name != "script.toml"]
    return {str(file.relative_to(directory)): file.read_bytes() for file in files}
