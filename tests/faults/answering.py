"""One of the two processes of `agreeing`: a bank whose time and ids are those of the sequence it is played."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, fields
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, cast

from reasoning_bank.bank import ReasoningBank
from reasoning_bank.errors import ReasoningBankError
from reasoning_bank.opening import Clockwork
from reasoning_bank.records import MemoryItem, NewTrace, Query
from reasoning_bank.retrieval import usage
from reasoning_bank.settings import load_settings
from reasoning_bank.storage import outbox
from reasoning_bank.storage.workspaces import Counts
from tests.faults.agreeing import WRITES, Json

START = datetime(2026, 1, 1, tzinfo=UTC)


class Sequence:
    """Time and ids of the operation that is being played."""

    def __init__(self, process: int) -> None:
        self._process = process
        self._number = 0
        self._ids = count()

    def at(self, number: int) -> None:
        """Go on to an operation: one a second."""
        self._number = number
        self._ids = count()

    def now(self) -> datetime:
        """The time of the operation."""
        return START + timedelta(seconds=self._number)

    def new_id(self, prefix: str) -> str:
        """An id that the same operation gives again."""
        return f"{prefix}_{self._process}n{self._number:06}n{next(self._ids)}"


async def main(directory: Path, process: int) -> None:
    """Answer every line of stdin that asks for something."""
    usage.FLUSH_S = 1e6  # when uses are written is part of the sequence
    sequence = Sequence(process)
    clock = Clockwork(now=sequence.now, new_id=sequence.new_id, jitter=lambda: 0.5)
    settings = load_settings(data_dir=directory)
    lines = asyncio.StreamReader(limit=2**20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with ReasoningBank(settings, clock=clock) as bank:
        while line := await lines.readline():
            request = json.loads(line)
            sequence.at(request["n"])
            if "do" in request:
                print(json.dumps(await _answer(bank, request), default=str), flush=True)


async def _answer(bank: ReasoningBank, request: Json) -> Any:
    try:
        answer = await DOING[request["do"]](bank, request["space"], request)
    except ReasoningBankError as error:
        answer = {"error": type(error).__name__, "text": str(error)}
    if request["do"] in WRITES:
        await _settled(bank)
    return answer


async def _settled(bank: ReasoningBank) -> None:
    """Wait until nothing is queued: what happens in the background happens before the next operation."""

    def waiting(connection: Any) -> bool:
        counts = outbox.counts(connection, now=START)
        return bool(counts.pending or counts.leased)

    async with asyncio.timeout(60):
        while await bank.rooms.database.read(waiting):  # noqa: ASYNC110 -- only the rows tell
            await asyncio.sleep(0.002)


async def _retrieve(bank: ReasoningBank, space: str, request: Json) -> Any:
    query: Json = {**request["query"], "tags": tuple(request["query"].get("tags", ()))}
    found = await bank.retrieve(space, Query(**query))
    block = bank.context_block(space, found.memories, token_budget=200, query=query["task"])
    answer: Json = {**asdict(found), "block": block}
    for each in answer["memories"]:
        # Written every few seconds, and no reason to read a memory again: of all that a search answers it alone lags.
        del each["memory"]["counters"]["used"]
    return answer


async def _store(bank: ReasoningBank, space: str, request: Json) -> Any:
    trace = NewTrace(request["task"], outcome=request["outcome"], tags=tuple(request["tags"]), domain=request["domain"])
    items = [
        MemoryItem(request["task"], title=each["title"], content=each["content"], outcome=request["outcome"])
        for each in request["memories"]
    ]
    return asdict(await bank.store_trace(space, trace, memories=items))


async def _get(bank: ReasoningBank, space: str, request: Json) -> Any:
    return [asdict(each) for each in await bank.get_memories(space, request["ids"])]


async def _rate(bank: ReasoningBank, space: str, request: Json) -> Any:
    counters = await bank.rate(space, request["ids"], request["verdict"])
    return {id_: asdict(each) for id_, each in counters.items()}


async def _update(bank: ReasoningBank, space: str, request: Json) -> Any:
    return asdict(await bank.update_memory(space, request["ids"][0], {"content": request["content"]}))


async def _forget(bank: ReasoningBank, space: str, request: Json) -> Any:
    return asdict(await bank.forget_memory(space, request["ids"][0], undo=request["undo"]))


async def _compress(bank: ReasoningBank, _: str, request: Json) -> Any:
    return asdict(await bank.compress(request["prompt"], max_tokens=120, query=request["query"]))


async def _profile(bank: ReasoningBank, space: str, _: Json) -> Any:
    return asdict(await bank.profile(space))


async def _lists(bank: ReasoningBank, space: str, request: Json) -> Any:
    names = {kind: await bank.complete(kind, request["prefix"], space) for kind in ("workspace", "tag", "domain")}
    return {**names, "workspaces": await bank.workspaces()}


async def _counts(bank: ReasoningBank, space: str, _: Json) -> Any:
    stats = await bank.stats(space)
    # All else is of the process: what it measured, and what it raises an alert about.
    return {name: stats[name] for name in ("workspace", "refused", *(each.name for each in fields(Counts)))}


async def _flush(bank: ReasoningBank, *_: object) -> Any:
    await bank.rooms.usage.flush()


async def _hits(bank: ReasoningBank, *_: object) -> Any:
    said = await bank.rooms.caches.statistics()
    return {name: cast("int", each["hits"]) for name, each in said.items()}


DOING: Mapping[str, Callable[[ReasoningBank, str, Json], Awaitable[Any]]] = {
    "retrieve": _retrieve,
    "get": _get,
    "store": _store,
    "rate": _rate,
    "update": _update,
    "forget": _forget,
    "compress": _compress,
    "profile": _profile,
    "lists": _lists,
    "counts": _counts,
    "flush": _flush,
    "hits": _hits,
}


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
