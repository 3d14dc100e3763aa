"""Speed of a search inside the server at 1,000, 10,000 and 100,000 memories, beside the least any search must do.

Run: python -m tests.benchmarks search [--sizes 1000,10000,100000] [--keep DIRECTORY] [--search auto|exact]

Questions are embedded beforehand, except where a question is asked for the first time. Each is asked in turn of the
bank and of a bare search (one product of matrix and vector, one FTS5 query), so that a busy machine slows down both.
"""

import argparse
import json
import sqlite3
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

import anyio
import numpy as np
from numpy.typing import NDArray

from reasoning_bank import Query, ReasoningBank, load_settings
from reasoning_bank.evaluation.bench.filling import WORKSPACE, item
from reasoning_bank.evaluation.bench.lessons import questions
from reasoning_bank.retrieval.composition import composed
from reasoning_bank.retrieval.meaning import QueryModel, query_model, query_vector
from reasoning_bank.storage import embeddings, memories
from reasoning_bank.text.analyser import STOP_WORDS
from reasoning_bank.text.fields import indexed_text
from tests.benchmarks.filling import fill
from tests.benchmarks.machine import RESULTS, machine
from tests.benchmarks.timing import quantiles

K = 5
LOG_LINES = 60
"""Lines of log below a question that make it a long task, about 4 KiB."""


BEST = "SELECT rowid FROM words WHERE words MATCH ? ORDER BY rank LIMIT ?"


class Bare:
    """The least a hybrid search must do: one exact product over all vectors, and one FTS5 query."""

    def __init__(self, path: Path, size: int, vectors: NDArray[np.float32]) -> None:
        self._vectors = vectors
        self._words = sqlite3.connect(path, check_same_thread=False)
        self._words.execute("CREATE VIRTUAL TABLE words USING fts5(said)")
        texts = ((indexed_text(item(number)),) for number in range(size))
        self._words.executemany("INSERT INTO words VALUES (?)", texts)
        self._words.execute("INSERT INTO words(words) VALUES ('optimize')")
        self._words.commit()

    def search(self, question: str, vector: NDArray[np.float32]) -> dict[str, float]:
        """Seconds of both parts, and together."""
        started = time.perf_counter()
        scores = self._vectors @ vector
        np.argpartition(scores, len(scores) - K)[-K:]
        middle = time.perf_counter()
        terms = {word.strip("?,()").lower() for word in question.split()} - STOP_WORDS
        match = " OR ".join(f'"{term}"' for term in terms if term)
        self._words.execute(BEST, (match, K)).fetchall()
        ended = time.perf_counter()
        return {"product": middle - started, "fts": ended - middle, "whole": ended - started}

    def close(self) -> None:
        """Close the table."""
        self._words.close()


class Measured:
    """A filled bank, open and ready, and a bare search of the same memories."""

    def __init__(self, bank: ReasoningBank, model: QueryModel, bare: Bare, middle: datetime) -> None:
        self.bank = bank
        self.model = model
        self.bare = bare
        self.middle = middle

    async def ask(self, question: str, **changes: Any) -> tuple[float, dict[str, float]]:
        """Seconds of one search, and milliseconds of its stages."""
        query = Query(question, k=K, min_score=0, **changes)
        started = time.perf_counter()
        found = await self.bank.retrieve(WORKSPACE, query)
        took = time.perf_counter() - started
        if found.degraded or (not found.memories and not changes):
            raise RuntimeError(f"{question!r}: {found.degraded} did not answer")
        return took, dict(found.timings_ms)

    async def embedded(self, question: str) -> NDArray[np.float32]:
        """The question's vector, which the bank then has too."""
        cache = self.bank.rooms.caches.queries
        vector = await query_vector(self.model, question, workspace=WORKSPACE, cache=cache, longest_wait_s=60)
        assert vector is not None
        return vector


async def measure(root: Path, size: int, search: str, count: int) -> dict[str, Any]:
    """All figures of one size."""
    directory = await fill(root, size)
    settings = load_settings(data_dir=directory, vectors={"search": search, "chroma_mode": _mode(search)})
    async with ReasoningBank(settings) as bank:
        await bank.wait_until_searchable(timeout_s=3600)
        if bank.rooms.index is not None and size > settings.vectors.exact_limit:
            with anyio.fail_after(3600):
                while await _index_status(bank) != "ready":  # noqa: ASYNC110 -- no event says so
                    await anyio.sleep(0.5)
        model = query_model(bank.rooms.models.serving)
        assert model is not None
        with tempfile.TemporaryDirectory() as temporary:
            vectors = _vectors(bank, model)
            bare = Bare(Path(temporary) / "words.db", size, vectors)
            try:
                return await _figures(Measured(bank, model, bare, _middle(bank)), size, count)
            finally:
                bare.close()


async def _index_status(bank: ReasoningBank) -> str:
    stats: dict[str, Any] = dict(await bank.stats(WORKSPACE))
    return stats["index"]["status"]


def _mode(search: str) -> str:
    return "off" if search == "exact" else "embedded"


def _vectors(bank: ReasoningBank, model: QueryModel) -> NDArray[np.float32]:
    parts = bank.rooms.database.read_now(lambda c: list(embeddings.load(c, WORKSPACE, model.space.model_id)))
    return np.concatenate([np.stack(list(rows)) for _, rows in composed(parts, model.space.dim)])


def _middle(bank: ReasoningBank) -> datetime:
    """A moment before which half of the memories were stored."""
    rows = bank.rooms.database.read_now(lambda c: list(memories.load_for_index(c, WORKSPACE)))
    return datetime.fromtimestamp(sorted(row.occurred_at for row in rows)[len(rows) // 2], UTC)


async def _figures(measured: Measured, size: int, count: int) -> dict[str, Any]:
    asked = iter(questions(size, 8 * count, seed=1))
    for question in _some(asked, 10):
        await measured.embedded(question)
        await measured.ask(question)
    whole = await _beside_bare(measured, _some(asked, count))
    filtered = await _filtered(measured, _some(asked, 4 * count))
    cold = await _first_and_again(measured, _some(asked, count // 2))
    long = await _beside_bare(measured, [_with_log(each) for each in _some(asked, count // 4)])
    ratios = {
        "whole_to_bare": whole["whole"]["p50_ms"] / whole["bare"]["p50_ms"],
        "whole_to_bare_p95": whole["whole"]["p95_ms"] / whole["bare"]["p95_ms"],
        "filtered_to_unfiltered": {
            name: each["p50_ms"] / filtered["unfiltered"]["p50_ms"] for name, each in filtered.items()
        },
        "repeated_to_first": cold["again"]["p50_ms"] / cold["first"]["p50_ms"],
    }
    return {"memories": size, "ratios": ratios, "search": whole, "filters": filtered, **cold, "long_task": long}


async def _beside_bare(measured: Measured, asked: Sequence[str]) -> dict[str, Any]:
    whole: list[float] = []
    bare: dict[str, list[float]] = defaultdict(list)
    stages: dict[str, list[float]] = defaultdict(list)
    for question in asked:
        vector = await measured.embedded(question)
        took, parts = await measured.ask(question)
        whole.append(took)
        for name, value in parts.items():
            stages[name].append(value / 1000)
        for name, value in measured.bare.search(question, vector).items():
            bare[name].append(value)
    return {
        "whole": quantiles(whole),
        "bare": quantiles(bare["whole"]),
        "bare_product": quantiles(bare["product"]),
        "bare_fts": quantiles(bare["fts"]),
        "stages": {name: quantiles(values) for name, values in stages.items()},
    }


async def _filtered(measured: Measured, asked: Sequence[str]) -> dict[str, dict[str, float]]:
    """Each question asked with the next filter, or none, so that no answer finds its memories read before."""
    ways: list[tuple[str, dict[str, Any]]] = [
        ("unfiltered", {}),
        ("since", {"since": measured.middle}),
        ("until", {"until": measured.middle}),
        ("outcome", {"outcome": "success"}),
        ("nothing_passes", {"tags": ("absent",)}),
    ]
    taken: dict[str, list[float]] = defaultdict(list)
    for question, (name, changes) in zip(asked, cycle(ways), strict=False):
        await measured.embedded(question)
        taken[name].append((await measured.ask(question, **changes))[0])
    return {name: quantiles(taken[name]) for name, _ in ways}


async def _first_and_again(measured: Measured, asked: Sequence[str]) -> dict[str, dict[str, float]]:
    first = [(await measured.ask(question))[0] for question in asked]
    again = [(await measured.ask(question))[0] for question in asked]
    return {"first": quantiles(first), "again": quantiles(again)}


def _with_log(question: str) -> str:
    lines = [f"2026-01-01 00:00:{n % 60:02} worker-{n} ERROR request {n * 7919} timed out" for n in range(LOG_LINES)]
    return "\n".join([question, "", *lines])


def _some(asked: Iterator[str], count: int) -> list[str]:
    return [next(asked) for _ in range(count)]


def _growth(sizes: Sequence[dict[str, Any]]) -> dict[str, float]:
    """How the 95th percentile grows from one size to the next, and from the smallest to the largest."""
    steps = [*pairwise(sizes), (sizes[0], sizes[-1])]
    return {f"p95_{after['memories']}_to_{before['memories']}": _p95(after) / _p95(before) for before, after in steps}


def _p95(figures: dict[str, Any]) -> float:
    return figures["search"]["whole"]["p95_ms"]


def main(arguments: Sequence[str]) -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(prog="search", description=__doc__)
    parser.add_argument("--sizes", default="1000,10000,100000")
    parser.add_argument("--keep", type=Path, help="directory in which filled banks are kept for the next run")
    parser.add_argument("--search", choices=("auto", "exact"), default="auto", help="auto asks Chroma in large banks")
    parser.add_argument("--count", type=int, default=200, help="questions of the main measurement")
    parser.add_argument("--results", type=Path, default=RESULTS / "search.json", help="file to write")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        root: Path = options.keep or Path(temporary)
        sizes = [
            anyio.run(measure, root, int(size), options.search, options.count) for size in options.sizes.split(",")
        ]
    report = {"machine": machine(), "k": K, "growth": _growth(sizes), "sizes": sizes}
    options.results.parent.mkdir(exist_ok=True)
    options.results.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=1))
