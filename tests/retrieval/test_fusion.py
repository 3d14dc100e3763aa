"""All ways of finding together are no worse than the best of them, whatever kind of query is asked."""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from reasoning_bank.embeddings.embedder import Embedder, Vectors
from reasoning_bank.records import MemoryItem, Query, Stage
from reasoning_bank.retrieval.options import RetrievalOptions
from reasoning_bank.storage.database import Database
from tests.retrieval.bank import START, SmallBank, found

NOISE = 0.03
"""How far below the better part the interval of the difference may begin."""
RESAMPLES = 2_000
ASKED_EACH = 30
DEEP = 10
PARTS: dict[str, frozenset[Stage]] = {
    "together": frozenset(),
    "meaning": frozenset(("keyword", "entity", "temporal")),
    "words": frozenset(("semantic",)),
}

THINGS = {
    "database": "data store",
    "server": "host machine",
    "website": "web page",
    "invoice": "bill",
    "customer": "client",
    "password": "login secret",
    "picture": "image",
    "schedule": "timetable",
    "report": "summary document",
    "payment": "money transfer",
    "message": "notification",
    "warehouse": "storage building",
}
TROUBLES = {
    "is too slow": "takes far too long",
    "was deleted by mistake": "got erased accidentally",
    "is shown twice": "appears two times",
    "cannot be opened": "refuses to load",
    "has the wrong currency": "uses money of another country",
    "is not delivered": "never arrives",
    "grows without end": "gets bigger and bigger",
    "is out of date": "has not been refreshed",
}
REMEDIES = ("restore it from a backup", "add an index", "clear the cache", "ask the owner first", "retry at night")
NAMES = ("load", "find", "merge", "check", "write", "split")


@dataclass(frozen=True, slots=True)
class Case:
    """A lesson, and what someone who needs it may ask."""

    item: MemoryItem
    title: str
    paraphrase: str
    identifier: str
    mixed: str


def lessons() -> list[Case]:
    """One for every thing and trouble."""
    rng, cases = random.Random(3), list[Case]()
    for thing, other_thing in THINGS.items():
        for trouble, other_trouble in TROUBLES.items():
            place = len(cases)
            name = f"{rng.choice(NAMES)}_{thing}_{rng.choice(NAMES)}{place}"
            item = MemoryItem(
                text=f"Find out why the {thing} {trouble}",
                title=f"The {thing} {trouble}: {rng.choice(REMEDIES)}",
                description=f"Use when a {thing} {trouble}.",
                content=f"Call {name}() and then {rng.choice(REMEDIES)}.",
            )
            paraphrase = f"Our {other_thing} {other_trouble}, what can I do?"
            cases.append(Case(item, item.title, paraphrase, name, f"{paraphrase} I looked at {name} already."))
    return cases


KINDS: dict[str, Callable[[Case], str]] = {
    "title": lambda case: case.title,
    "paraphrase": lambda case: case.paraphrase,
    "identifier": lambda case: case.identifier,
    "mixed": lambda case: case.mixed,
}


Places = dict[tuple[str, str], NDArray[np.float64]]
"""By kind of query and part, the reciprocal place of each right answer, 0 beyond the tenth."""


@pytest.fixture(scope="module")
def places(minilm: Embedder, tmp_path_factory: pytest.TempPathFactory) -> Places:
    return asyncio.run(measured(minilm, tmp_path_factory.mktemp("fusion") / "bank.db"))


async def measured(embedder: Embedder, path: Path) -> Places:
    """What each part finds of each kind of query."""
    cases = lessons()
    asked = random.Random(5).sample(range(len(cases)), ASKED_EACH)
    async with Database(path, durability="process", now=lambda: START) as database:
        bank = SmallBank(database, embedder)
        bank.encode = _remembering(embedder)
        ids = await bank.store("w", *(case.item for case in cases))
        result: Places = {}
        for part, without in PARTS.items():
            retriever = bank.retriever(options=RetrievalOptions(without=without, deadline_s=60))
            for kind, question in KINDS.items():
                answers = [await found(retriever, "w", Query(question(cases[n]), k=DEEP, min_score=0)) for n in asked]
                right = [_reciprocal(answer, ids[n]) for answer, n in zip(answers, asked, strict=True)]
                result[kind, part] = np.array(right)
    return result


def _remembering(embedder: Embedder) -> Callable[[Sequence[str]], Vectors]:
    """Embeds a text once: the parts are asked the same."""

    @cache
    def one(text: str) -> Vectors:
        return embedder.encode([text], "query")[0]

    return lambda texts: np.stack([one(text) for text in texts])


def _reciprocal(answer: Sequence[str], right: str) -> float:
    return 1 / (answer.index(right) + 1) if right in answer else 0.0


def least_difference(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Lower end of the 95 % interval of the mean difference, by a paired bootstrap (Efron 1979)."""
    rows = np.random.default_rng(1).integers(0, len(one), (RESAMPLES, len(one)))
    return float(np.quantile((one - other)[rows].mean(axis=1), 0.025))


@pytest.mark.parametrize("kind", KINDS)
def test_together_is_no_worse_than_the_better_part(places: Places, kind: str) -> None:
    together = places[kind, "together"]
    for part in ("meaning", "words"):
        alone = places[kind, part]
        assert least_difference(together, alone) > -NOISE, f"MRR against {part} alone"
        hit, hit_alone = (each >= 1 / 5 for each in (together, alone))
        assert least_difference(hit.astype(float), hit_alone.astype(float)) > -NOISE, f"R@5 against {part} alone"


def test_the_parts_differ_so_that_the_comparison_says_something(places: Places) -> None:
    assert places["paraphrase", "meaning"].mean() > places["paraphrase", "words"].mean() + 0.1
    assert places["identifier", "words"].mean() > places["identifier", "meaning"].mean() + 0.1
