"""What each cache saves: one sequence of calls, Zipf over real questions, replayed in banks that differ in one cache.

Run: python -m tests.benchmarks replay [--calls 400] [--results FILE]

Every bank is a copy of the same one, with all caches off, one on, or all on; every call is made in each of them in
turn, in an order that changes, so that a busy machine slows down all alike. Needs REASONING_BANK_EVAL_DATA.
"""

import argparse
import asyncio
import json
import random
import shutil
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from reasoning_bank import MemoryCache, NewTrace, Query, ReasoningBank, load_settings
from reasoning_bank.cache.config import EvictionPolicy
from reasoning_bank.cache.lifetime import Lifetime
from reasoning_bank.cache.memory import CacheKey
from reasoning_bank.records import ImportedMemory, ImportedTrace, MemoryItem
from tests.benchmarks.machine import RESULTS, evaluation_data, machine

SETS = ("webarena", "taubench")
LONGEST_PROMPT = 3_000
CACHES = ("memories", "retrieval", "intents", "queries", "texts", "contexts", "profiles", "tools", "calculations")
Times = dict[str, dict[str, list[float]]]
"""By bank and kind of call, its milliseconds in the order of the sequence."""


@dataclass(frozen=True, slots=True)
class Row:
    """A text of a set, and its workspace."""

    text: str
    workspace: str


@dataclass(frozen=True, slots=True)
class Step:
    """What a client does next."""

    asked: Row
    detail: Any
    prompt: str | None
    writes: bool
    looks: bool


def read(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSONL file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def rows(data: Path, name: str, sets: Sequence[str] = SETS) -> list[Row]:
    """The rows of the sets, in their order."""
    found = [each for each_set in sets for each in read(data / each_set / f"{name}.jsonl")]
    return [Row(each["text"], each["metadata"]["workspace"]) for each in found]


def zipf(count: int, rng: random.Random, draws: int) -> list[int]:
    """Numbers below `count`, the n-th most frequent 1/n times as often as the first (s = 1)."""
    ranked = rng.sample(range(count), count)
    return rng.choices(ranked, weights=[1 / (rank + 1) for rank in range(count)], k=draws)


def sequence(data: Path, calls: int, *, writing: bool, seed: int = 6) -> list[Step]:
    """The calls of one replay; with writes 4 % of them store a trace first."""
    rng = random.Random(seed)
    asked = rows(data, "queries")
    prompts = [each["text"] for each in read(data / "prompts" / "prompts.jsonl")]
    short = [text for text in prompts if len(text) <= LONGEST_PROMPT]
    which = zipf(len(asked), rng, calls)
    pressed = iter(zipf(len(short), rng, calls))
    return [
        Step(
            asked=asked[number],
            detail="index" if rng.random() < 0.5 else "full",
            prompt=short[next(pressed)] if step % 10 == 5 else None,
            writes=writing and step % 25 == 24,
            looks=step % 10 == 0,
        )
        for step, number in enumerate(which)
    ]


async def fill(directory: Path, data: Path) -> None:
    """Store and embed every memory of the sets."""
    async with ReasoningBank(settings_of(directory, {})) as bank:
        by_workspace: dict[str, list[ImportedTrace]] = defaultdict(list)
        for row in rows(data, "corpus"):
            item = MemoryItem(text=row.text, title=row.text[:80], outcome="success", origin="import")
            by_workspace[row.workspace].append(
                ImportedTrace(NewTrace(task=row.text, outcome="success"), (ImportedMemory(item),))
            )
        for workspace, batch in by_workspace.items():
            await bank.store_many(workspace, batch)
        await bank.wait_until_searchable(timeout_s=3600)


def settings_of(directory: Path, cache: dict[str, Any]) -> Any:
    """Settings of one bank; one thread for each model, since there are many."""
    return load_settings(
        data_dir=directory, vectors={"chroma_mode": "off"}, embeddings={"threads": 1}, retrieval={"floor": 0.3},
        cache={"warm": False, **cache},
    )  # fmt: skip


def variants(*, writing: bool) -> dict[str, dict[str, Any]]:
    """The settings of each bank's caches; what is written concerns those alone that depend on the truth."""
    truth = ("memories", "retrieval", "profiles", "tools")
    off = {name: {"enabled": False} for name in CACHES}
    only = {
        f"only {name}": {**off, name: {"enabled": True}, "prefetch": False} for name in (truth if writing else CACHES)
    }
    return {"off": off, **only, "on, no prefetch": {"prefetch": False}, "on": {}}


async def replay(banks: dict[str, ReasoningBank], steps: Sequence[Step]) -> Times:
    """Milliseconds of every call in every bank."""
    times: Times = {name: defaultdict(list) for name in banks}
    rng = random.Random(1)

    async def each(kind: str, call: Callable[[str, ReasoningBank], Awaitable[Any]]) -> dict[str, Any]:
        said: dict[str, Any] = {}
        for name in rng.sample(list(banks), len(banks)):
            started = time.perf_counter()
            said[name] = await call(name, banks[name])
            times[name][kind].append((time.perf_counter() - started) * 1000)
        return said

    for number, step in enumerate(steps):
        workspace = step.asked.workspace
        if step.writes:
            trace = NewTrace(task=f"{step.asked.text} ({number})", outcome="success")
            await each("store", lambda _, bank, w=workspace, t=trace: bank.store_trace(w, t))
        query = Query(step.asked.text, k=3, detail=step.detail)
        found = await each("retrieve", lambda _, bank, w=workspace, q=query: bank.retrieve(w, q))
        if step.detail == "index" and found["off"].memories:
            ids = {name: [hit.memory.id for hit in its.memories[:2]] for name, its in found.items()}
            await each("get_memory", lambda name, bank, w=workspace, ids=ids: bank.get_memories(w, ids[name]))
        if step.prompt is not None:
            await each("compress", lambda _, bank, p=step.prompt: bank.compress(p, ratio=0.5))
        if step.looks:
            await each("profile", lambda _, bank, w=workspace: bank.profile(w))
    return times


def figures(times: Times, caches: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Per cache: rate, and what a call takes less (positive) than the same call with every cache off."""
    off = times["off"]
    return {
        name: {
            "hit_rate": {each: said["hit_rate"] for each, said in caches[name].items() if said["total_requests"]},
            "saved_per_hit_ms": {
                each: round(1000 * said["saved_s"] / said["hits"], 4)
                for each, said in caches[name].items()
                if said["hits"]
            },
            "mb": round(sum(said["bytes"] for said in caches[name].values()) / 2**20, 2),
            "saved": {kind: _saved(off[kind], its[kind]) for kind in its},
        }
        for name, its in times.items()
        if name != "off"
    }


def _saved(off: Sequence[float], on: Sequence[float]) -> dict[str, float]:
    differences = [before - after for before, after in zip(off, on, strict=True)]
    return {
        "n": len(on),
        "off_p50_ms": round(statistics.median(off), 3),
        "on_p50_ms": round(statistics.median(on), 3),
        "saved_p50_ms": round(statistics.median(differences), 3),
        "saved_mean_ms": round(statistics.fmean(differences), 3),
    }


def rates(data: Path, calls: int = 5_000) -> list[dict[str, Any]]:
    """Hit rates of answers alone, over every question there is, by policy, size and share of writes."""
    asked = rows(data, "queries", [each.name for each in data.iterdir() if (each / "queries.jsonl").exists()])
    found: list[dict[str, Any]] = []
    for policy in EvictionPolicy:
        for size in (125, 250, 500, 1_000):
            for writes in (0.0, 0.04):
                rng = random.Random(6)
                cache, changes = MemoryCache[bool](size, policy=policy), defaultdict[str, int](int)
                for number in zipf(len(asked), rng, calls):
                    row = asked[number]
                    changes[row.workspace] += rng.random() < writes
                    key: CacheKey = (row.workspace, changes[row.workspace], row.text)
                    if cache.get(key) is None:
                        cache.put(key, True)
                said = cache.get_statistics()
                found.append({
                    "policy": policy.value, "size": size, "writes": writes, "questions": len(asked), "calls": calls,
                    "hit_rate": said["hit_rate"], "missed_by_size": said["missed_by_size"],
                })  # fmt: skip
    return found


def lifetimes(data: Path, calls: int = 5_000, ttl_s: float = 300.0) -> list[dict[str, Any]]:
    """Hit rates of 500 answers kept for five minutes, by seconds between calls, with times that adapt and without."""
    asked = rows(data, "queries", [each.name for each in data.iterdir() if (each / "queries.jsonl").exists()])
    found: list[dict[str, Any]] = []
    for pause_s in (0.1, 1.0, 5.0, 30.0):
        for longest in (1.0, 4.0):
            now = 0.0
            lifetime = Lifetime(random.Random(6).random, longest)
            cache = MemoryCache[bool](500, ttl_s, timer=lambda: now, lifetime=lifetime)  # noqa: B023 -- used here only
            for number in zipf(len(asked), random.Random(6), calls):
                now += pause_s
                if cache.get((asked[number].workspace, number)) is None:
                    cache.put((asked[number].workspace, number), True)
            found.append({"pause_s": pause_s, "longest": longest, "hit_rate": cache.get_statistics()["hit_rate"]})
    return found


async def measure(root: Path, data: Path, calls: int, *, writing: bool) -> dict[str, Any]:
    """One replay in every bank."""
    original = root / "original"
    if not original.exists():
        await fill(original, data)
    places = root / ("writing" if writing else "reading")
    async with AsyncExitStack() as stack:
        banks: dict[str, ReasoningBank] = {}
        for name, cache in variants(writing=writing).items():
            place = places / name.replace(" ", "-")
            await asyncio.to_thread(shutil.copytree, original, place)
            banks[name] = await stack.enter_async_context(ReasoningBank(settings_of(place, cache)))
            await banks[name].retrieve("nobody", Query("is the model there?"))
        for bank in banks.values():
            await bank.wait_until_searchable(timeout_s=600)
        times = await replay(banks, sequence(data, calls, writing=writing))
        said = {name: await bank.rooms.caches.statistics() for name, bank in banks.items()}
        return {"calls": calls, "writes": writing, "caches": figures(times, said)}


def main(arguments: Sequence[str]) -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(prog="replay", description=__doc__)
    parser.add_argument("--calls", type=int, default=400)
    parser.add_argument("--results", type=Path, default=RESULTS / "replay.json", help="file to write")
    options = parser.parse_args(arguments)
    data = evaluation_data()
    if data is None:
        return
    run = partial(measure, data=data, calls=options.calls)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        root = Path(temporary)
        replays = [anyio.run(partial(run, root, writing=writing)) for writing in (False, True)]
    report = {
        "machine": machine(),
        "sets": SETS,
        "replays": replays,
        "rates": rates(data),
        "lifetimes": lifetimes(data),
    }
    options.results.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=1))
