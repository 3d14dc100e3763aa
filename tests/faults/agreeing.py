"""Fault 6: caches; two processes on one bank give the same answers with caches as without, wherever these are.

A recorded sequence of reads and writes is played to two processes in turn, always in the same order: once with every
cache off, and once with every cache on for each place that caches can be in. Time and ids are those of the sequence.
"""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

from tests.cache.own_redis import own_redis

Json = dict[str, Any]

PLACES: Final = ("memory", "file", "redis", "hybrid file", "hybrid redis")
MIXED: Final = "mixed redis"
"""Each cache in another place: short."""
SPACES: Final = ("alpha", "beta")
SHARED: Final = ("retrieval", "queries", "profiles")
"""The caches that can be elsewhere than in memory, but for that of language models."""
TOPICS: Final = (
    "migration deadlock", "flaky fixture", "index rebuild", "retry budget", "parser of dates", "cache warmup",
    "login timeout", "tls renewal", "queue backlog", "schema rollback", "memory leak", "slow join",
    "broken upload", "unicode path", "rate limit", "stale token", "cron overlap", "disk quota",
)  # fmt: skip
WRITES: Final = {"store", "rate", "update", "forget", "flush"}
_ROUND, _BUSY = 60, 20
"""Of so many operations the first ones also write: what was read in between is read again."""
_CLOSE: Final = 1e-4
"""An answer given again is as old as it is: its scores may differ by the age of memories since."""
_IGNORED: Final = {"timings_ms", "cached"}


@dataclass(frozen=True)
class Agreement:
    """What one place of caches showed.

    Attributes:
        differences: answers that differed from those without caches, at most the first ten.
        differing: how many did.
        hits: answers and vectors that came from a cache, by its name.
        seconds: what it took, beside the other places.
    """

    place: str
    differing: int
    differences: tuple[str, ...]
    hits: Mapping[str, int]
    seconds: float


@dataclass(frozen=True)
class AgreementReport:
    """What a sequence of operations showed.

    Attributes:
        operations: of both processes together, by what they did.
        seconds_without: what the sequence took with caches off.
    """

    seed: int
    operations: Mapping[str, int]
    seconds_without: float
    places: tuple[Agreement, ...]

    @property
    def clean(self) -> bool:
        """Whether every answer was the same, and every place had something to answer from."""
        return all(not each.differing and each.hits.get("retrieval") for each in self.places)


def agree(
    directory: Path, *, operations: int, seed: int, places: Sequence[str] = PLACES, environment: Mapping[str, str]
) -> AgreementReport:
    """Record so many operations without caches, and play them with caches in each place."""
    environment = {
        "REASONING_BANK_DURABILITY": "process",
        "REASONING_BANK_COMPRESSION__TOKENIZER": "estimated",
        "REASONING_BANK_BACKGROUND__POLL_S": "0.05",
        **environment,
    }
    script: list[Json] = []
    writer = _Writer(random.Random(seed))
    started = time.monotonic()
    with _pair(directory / "off", {**environment, "REASONING_BANK_CACHE__ENABLED": "false"}) as pair:
        answers: list[Any] = []
        for number in range(operations):
            script.append(writer.next(number))
            answers.append(pair.ask(script[-1]))
            writer.learn(script[-1], answers[-1])
    without = time.monotonic() - started
    with ExitStack() as stack:
        url = stack.enter_context(own_redis(directory)).url if any("redis" in place for place in places) else ""
        play = partial(_played, directory, url=url, script=script, expected=answers, environment=environment)
        with ThreadPoolExecutor(len(places)) as players:
            found = tuple(players.map(play, places))
    kinds = [each["do"] for each in script]
    return AgreementReport(seed, {kind: kinds.count(kind) for kind in sorted(set(kinds))}, round(without, 1), found)


def _played(
    directory: Path,
    place: str,
    *,
    url: str,
    script: Sequence[Json],
    expected: Sequence[Any],
    environment: Mapping[str, str],
) -> Agreement:
    started = time.monotonic()
    with _pair(directory / place.replace(" ", "-"), {**environment, **_caches(place, url)}) as pair:
        answers = [pair.ask(each) for each in script]
        seconds = time.monotonic() - started
        hits = pair.hits()
    differing = [
        f"{number}: {json.dumps(request)} gave {difference}"
        for number, request in enumerate(script)
        if (difference := _difference(expected[number], answers[number]))
    ]
    return Agreement(place, len(differing), tuple(differing[:10]), hits, round(seconds, 1))


def _caches(place: str, url: str) -> dict[str, str]:
    backend, _, behind = place.partition(" ")
    backends = (
        ("hybrid", "redis", "file", "hybrid", "file")[: len(SHARED)] if place == MIXED else [backend] * len(SHARED)
    )
    environment = {
        f"REASONING_BANK_CACHE__{name.upper()}__BACKEND": its for name, its in zip(SHARED, backends, strict=True)
    }
    return environment | ({"REASONING_BANK_CACHE__REDIS_URL": url} if "redis" in {backend, behind} else {})


def _difference(expected: Any, found: Any, path: str = "") -> str:
    """The first place in which two answers differ; nothing where they are the same."""
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        one, other = cast("Json", expected), cast("Json", found)
        names = sorted({*one, *other} - _IGNORED)
        return next(
            (text for name in names if (text := _difference(one.get(name), other.get(name), f"{path}.{name}"))), ""
        )
    if isinstance(expected, list) and isinstance(found, list) and len(cast("Any", expected)) == len(cast("Any", found)):
        pairs = enumerate(zip(cast("list[Any]", expected), cast("list[Any]", found), strict=True))
        return next((text for n, (one, other) in pairs if (text := _difference(one, other, f"{path}[{n}]"))), "")
    if isinstance(expected, float) and isinstance(found, float) and abs(expected - found) <= _CLOSE:
        return ""
    return "" if expected == found else f"at {path or 'all'} {found!r} instead of {expected!r}"


class _Writer:
    """Makes up the sequence: what people ask again and again, and writes between."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._ids: dict[str, list[str]] = {space: [] for space in SPACES}

    def next(self, number: int) -> Json:
        """The next operation and the process that does it."""
        kinds: dict[str, tuple[int, Callable[[str], Json]]] = {
            "retrieve": (46, self._question),
            "get": (14, lambda space: {"ids": self._some(space)}),
            "store": (12, lambda _: self._trace(number)),
            "rate": (5, lambda space: {"ids": self._some(space), "verdict": self._rng.choice(["helped", "misled"])}),
            "update": (3, lambda space: {"ids": self._some(space), "content": f"Rather {self._topic()} {number}."}),
            "forget": (3, lambda space: {"ids": self._some(space), "undo": self._rng.random() < 0.4}),
            "compress": (5, lambda _: {"prompt": f"{self._topic()}. " * 40, "query": self._topic()}),
            "profile": (4, lambda _: {}),
            "lists": (4, lambda _: {"prefix": self._rng.choice("dt")}),
            "counts": (3, lambda _: {}),
            "flush": (1, lambda _: {}),
        }
        space = self._rng.choice(SPACES)
        if not self._ids[space]:
            kinds = {"store": kinds["store"]}
        elif number % _ROUND >= _BUSY:
            kinds = {kind: each for kind, each in kinds.items() if kind not in WRITES}
        weights = [weight for weight, _ in kinds.values()]
        kind, (_, make) = self._rng.choices(list(kinds.items()), weights)[0]
        return {"n": number, "by": self._rng.randrange(2), "do": kind, "space": space, **make(space)}

    def learn(self, request: Json, answer: Any) -> None:
        """Remember the ids that an answer gave."""
        if request["do"] == "store" and "memories" in answer:
            self._ids[request["space"]] += [each["id"] for each in answer["memories"] if each["id"]]

    def _topic(self) -> str:
        # A few are asked most of the time, as people do.
        weights = [1 / (place + 1) for place in range(len(TOPICS))]
        return self._rng.choices(TOPICS, weights)[0]

    def _some(self, space: str) -> list[str]:
        known = self._ids[space]
        recent = known[-20:] if self._rng.random() < 0.7 else known
        ids = self._rng.sample(recent, min(len(recent), self._rng.choice((1, 1, 2))))
        return [*ids, "m_unknown"] if self._rng.random() < 0.03 else ids

    def _question(self, _: str) -> Json:
        query: Json = {"task": f"How to mend the {self._topic()}", "k": self._rng.choice((3, 3, 3, 10))}
        if self._rng.random() < 0.15:
            query |= {"tags": [self._rng.choice(("db", "ui"))], "min_score": 0.0}
        if self._rng.random() < 0.15:
            query |= {"detail": "index", "outcome": "failure"}
        return {"query": query}

    def _trace(self, number: int) -> Json:
        topic = self._rng.choice(TOPICS)
        outcome = self._rng.choice(("success", "failure"))
        memories = [
            {
                "title": f"{topic} {number}.{part}",
                "content": f"Mend the {topic}: step {self._rng.randrange(9)} of {number}",
            }
            for part in range(self._rng.choice((1, 1, 2)))
        ]
        tags = [self._rng.choice(("db", "ui"))]
        return {
            "task": f"Mend {topic} {number}",
            "outcome": outcome,
            "memories": memories,
            "tags": tags,
            "domain": topic,
        }


class _Pair:
    """Two processes on one bank, asked in turn."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        command = [sys.executable, "-m", "tests.faults.answering", str(directory)]
        self._processes = [
            subprocess.Popen(
                [*command, str(number)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                encoding="utf-8",
                env=os.environ | dict(environment),
            )
            for number in range(2)
        ]

    def ask(self, request: Json) -> Any:
        """What the process named in a request answers; the other learns what time it is."""
        self._tell(1 - request["by"], {"n": request["n"]})
        self._tell(request["by"], request)
        return self._told(request["by"])

    def hits(self) -> dict[str, int]:
        """Hits of each cache, of both processes."""
        for number in range(2):
            self._tell(number, {"n": 10**6, "do": "hits", "space": ""})
        both = [cast("dict[str, int]", self._told(number)) for number in range(2)]
        return {name: both[0][name] + both[1][name] for name in both[0]}

    def stop(self) -> None:
        """Close both."""
        for process in self._processes:
            process.communicate(timeout=60)

    def _tell(self, number: int, request: Json) -> None:
        stdin = self._processes[number].stdin
        assert stdin is not None
        stdin.write(json.dumps(request) + "\n")
        stdin.flush()

    def _told(self, number: int) -> Any:
        stdout = self._processes[number].stdout
        assert stdout is not None
        line = stdout.readline()
        if not line:
            raise RuntimeError(f"process {number} ended with {self._processes[number].wait()}")
        return json.loads(line)


@contextmanager
def _pair(directory: Path, environment: Mapping[str, str]) -> Generator[_Pair]:
    pair = _Pair(directory, environment)
    try:
        yield pair
    finally:
        pair.stop()
