"""What ratings do to the order, simulated: `python -m tests.evaluation.ratings DIR [SET ...]`.

Half of the questions rate what they are given (the first three, each question a caller of its own), the other half
measures, then the halves change places: no question ever profits from its own verdict. Where half of the memories are
bad lessons, those are what ratings are for; where all are good, ratings can only say that a memory was shown for the
wrong task, and must do no harm. A share of the verdicts is random. Figures are of the good memories only.
"""

import asyncio
import random
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sqlalchemy import Connection

from reasoning_bank.embeddings.embedder import Embedder, Vectors
from reasoning_bank.evaluation.metrics import Figures, differences, measure
from reasoning_bank.evaluation.sets import Asked, EvaluationSet, read_set
from reasoning_bank.learning.rating import rate
from reasoning_bank.records import MemoryItem, Query, Retrieval, Verdict
from reasoning_bank.retrieval.retriever import Retriever
from reasoning_bank.storage.database import Database
from reasoning_bank.transfer.rows import read_row
from tests.retrieval.bank import START, SmallBank

K = 10
RATED = 3
FLOOR = 0.5
ACTED_ON_WRONG = 0.1
"""Share of the memories shown for the wrong task that were followed all the same, and misled."""
NOT_SAID = 0.2
"""Share of the right ones that were only called ignored."""


@dataclass(frozen=True, slots=True)
class World:
    """How good the memories are and how callers rate.

    Attributes:
        bad: share of memories that are bad lessons.
        noise: share of verdicts that are random.
        rounds: how often each question of the rating half is asked.
    """

    bad: float
    noise: float
    rounds: int


WORLDS = [World(bad, noise, rounds) for bad in (0.0, 0.5) for noise, rounds in ((0.0, 1), (0.2, 1), (0.2, 4), (1.0, 4))]


class Simulation:
    """A set in a bank, rated by simulated callers."""

    def __init__(self, bank: SmallBank, data: EvaluationSet, world: World, *, seed: int = 0) -> None:
        self._bank = bank
        self._data = data
        self._world = world
        self._rng = random.Random(seed)
        self._bad = {item.id for item in data.items if self._rng.random() < world.bad}
        self._retriever: Retriever = bank.retriever()

    async def run(self) -> tuple[list[Figures], list[Figures]]:
        """Figures of each question before and after ratings."""
        before: list[Figures] = []
        after: list[Figures] = []
        for half in (0, 1):
            space = f"{self._world} {half} "
            await self._fill(space)
            judges, rated = self._data.queries[half::2], self._data.queries[1 - half :: 2]
            before += await self._measured(space, rated)
            for asked in [*judges] * self._world.rounds:
                await self._rate(space, asked)
            after += await self._measured(space, rated)
        return before, after

    async def _fill(self, space: str) -> None:
        homes = {item.id: item.space for item in self._data.items}
        by_home: dict[str, list[MemoryItem]] = {}
        for number, line in enumerate(self._data.rows.splitlines(), start=1):
            row = read_row(line, number=number)
            assert row.memory is not None
            by_home.setdefault(homes[row.memory.item.external_id or ""], []).append(row.memory.item)
        for home, items in by_home.items():
            await self._bank.store(space + home, *items)

    async def _ask(self, space: str, asked: Asked) -> Retrieval:
        return await self._retriever.retrieve(space + asked.space, Query(asked.text, k=K, min_score=0))

    async def _measured(self, space: str, queries: Iterable[Asked]) -> list[Figures]:
        figures: list[Figures] = []
        for asked in queries:
            if good := asked.relevant - self._bad:
                found = await self._ask(space, asked)
                figures.append(measure([each.memory.item.external_id or "" for each in found.memories], good))
        return figures

    async def _rate(self, space: str, asked: Asked) -> None:
        shown = [each.memory for each in (await self._ask(space, asked)).memories[:RATED] if each.score >= FLOOR]
        verdicts: list[tuple[str, Verdict]] = [
            (memory.id, self._verdict(memory.item.external_id or "", asked)) for memory in shown
        ]

        def write(connection: Connection) -> None:
            for id_, verdict in verdicts:
                rate(connection, space + asked.space, [id_], verdict, now=START, actor=asked.text)

        await self._bank.database.write(write)

    def _verdict(self, id_: str, asked: Asked) -> Verdict:
        if self._rng.random() < self._world.noise:
            return self._rng.choice(("helped", "misled", "ignored"))
        if id_ not in asked.relevant:
            return "misled" if self._rng.random() < ACTED_ON_WRONG else "ignored"
        if self._rng.random() < NOT_SAID:
            return "ignored"
        return "misled" if id_ in self._bad else "helped"


async def simulate(
    data: EvaluationSet,
    embedder: Embedder,
    directory: Path,
    *,
    world: World,
    vectors: dict[str, Vectors] | None = None,
) -> tuple[list[Figures], list[Figures]]:
    """Figures of each question before and after ratings, in a fresh bank; `vectors` are kept between banks."""
    known = {} if vectors is None else vectors

    def encode(texts: Sequence[str]) -> Vectors:
        new = [text for text in dict.fromkeys(texts) if text not in known]
        known.update(zip(new, embedder.encode(new, "document"), strict=True) if new else ())
        return np.stack([known[text] for text in texts])

    async with Database(directory / "bank.db", durability="process", now=lambda: START) as database:
        bank = SmallBank(database, embedder)
        bank.encode = encode
        return await Simulation(bank, data, world).run()


def main(root: Path, names: Sequence[str]) -> None:
    """Print what ratings change, with intervals, for every world."""
    import platformdirs

    from reasoning_bank.assets import Assets
    from reasoning_bank.embeddings.onnx import OnnxEmbedder

    assets = platformdirs.user_cache_path("reasoning-bank", appauthor=False) / "assets"
    embedder = OnnxEmbedder(assets=Assets(assets, allow_download=False))
    embedder.load()
    vectors: dict[str, Vectors] = {}
    for name in names:
        data = read_set(name, root / name)
        for world in WORLDS:
            with tempfile.TemporaryDirectory() as directory:
                before, after = asyncio.run(simulate(data, embedder, Path(directory), world=world, vectors=vectors))
            change = differences(before, after)
            shown = "  ".join(
                f"{figure} {change[figure].value:+.3f} [{change[figure].low:+.3f}, {change[figure].high:+.3f}]"
                for figure in ("nDCG@10", "R@1", "R@10")
            )
            print(f"{name:10} bad {world.bad:.1f} noise {world.noise:.1f} rounds {world.rounds}  {shown}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or ("webarena", "swebench"))
