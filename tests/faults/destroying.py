"""Fault 3: the Chroma directory destroyed under a running server; answers stay right, the index comes back alone."""

import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.index import indexed_ids, live_ids, wait_for_index
from tests.faults.ledger import Ledger
from tests.faults.stdio_client import Json, RefusedError, ServerGoneError, StdioServer

QUESTIONS = 25
LONGEST_S = 120.0
"""Bound for one rebuild on a slow machine."""


def delete(directory: Path) -> None:
    """rm -rf."""
    shutil.rmtree(directory)


def scramble(directory: Path) -> None:
    """Random bytes over every file, in place."""
    for path in _files(directory):
        with path.open("r+b") as file:
            file.write(os.urandom(path.stat().st_size))


def cut(directory: Path) -> None:
    """Every file cut in half."""
    for path in _files(directory):
        os.truncate(path, path.stat().st_size // 2)


def _files(directory: Path) -> list[Path]:
    return [path for path in sorted(directory.rglob("*")) if path.is_file() and path.suffix != ".lock"]


WAYS: Mapping[str, Callable[[Path], None]] = {"delete": delete, "scramble": scramble, "cut": cut}


@dataclass(frozen=True)
class DestructionReport:
    """What destroying the index under a running server showed.

    Attributes:
        asked: searches answered while the index was broken or being rebuilt.
        wrong: those with another answer than before.
        rebuilt_s: way -> seconds from the destruction to a new build that holds everything, in the same process.
        by_chroma: searches that Chroma supplied candidates for at the end.
        index_difference: ids in which the index differs from the truth at the end.
    """

    memories: int
    asked: int
    wrong: int
    rebuilt_s: Mapping[str, float]
    by_chroma: int
    index_difference: int
    faults: tuple[str, ...]

    @property
    def clean(self) -> bool:
        """Whether every answer was right and the index is whole and used."""
        return self.by_chroma > 0 and not (self.wrong or self.index_difference or self.faults)


@dataclass
class _Watch:
    """A server, what it must answer, and what it answered."""

    server: StdioServer
    expected: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    asked: int = 0
    wrong: int = 0

    def ask(self, question: str) -> list[str]:
        arguments: Json = {"task": question, "k": 5, "min_score": 0, "token_budget": 0}
        return [memory["id"] for memory in self.server.call("retrieve_memory", arguments)["memories"]]

    def check_all(self) -> None:
        for question, answer in self.expected.items():
            self.asked += 1
            self.wrong += self.ask(question) != answer

    def by_chroma(self) -> int:
        """How many of the questions Chroma supplies candidates for now."""
        before = self._served()
        self.check_all()
        return self._served() - before

    def _served(self) -> int:
        return self.server.read("bank://stats")["counters"].get("searches.chroma", 0)


def destroy_index(
    directory: Path,
    *,
    traces: int,
    seed: int,
    ways: Mapping[str, Callable[[Path], None]] = WAYS,
    environment: Mapping[str, str] | None = None,
) -> DestructionReport:
    """Fill a bank, destroy its Chroma directory in several ways while one server runs, and keep asking."""
    bank = directory / "bank"
    ledger = Ledger(seed)
    # An answer that is kept asks no index, and would hide what is destroyed.
    chroma = {"REASONING_BANK_VECTORS__SEARCH": "chroma", "REASONING_BANK_CACHE__RETRIEVAL__SIZE": "0"}
    chroma |= environment or {}
    server = StdioServer(bank, stderr=directory / "stderr.log", environment=chroma)
    watch = _Watch(server)
    rebuilt: dict[str, float] = {}
    by_chroma = 0
    try:
        questions = _fill(server, ledger, traces)
        build = wait_for_index(server, bank, timeout_s=LONGEST_S)
        watch.expected = {question: watch.ask(question) for question in questions}
        for name, destroy in ways.items():
            started = time.monotonic()
            destroy(bank / "vectors")
            build = _keep_asking(watch, bank, build)
            rebuilt[name] = round(time.monotonic() - started, 2)
        by_chroma = watch.by_chroma()
    except (RefusedError, ServerGoneError, TimeoutError) as error:
        ledger.fault(f"{type(error).__name__} {error}")
    finally:
        if server.process.poll() is None and server.stop() != 0:
            ledger.fault("the server did not stop with 0")
    return DestructionReport(
        memories=len(live_ids(bank)),
        asked=watch.asked,
        wrong=watch.wrong,
        rebuilt_s=rebuilt,
        by_chroma=by_chroma,
        index_difference=len(indexed_ids(bank) ^ live_ids(bank)),
        faults=tuple(ledger.faults),
    )


def _fill(server: StdioServer, ledger: Ledger, traces: int) -> list[str]:
    questions: list[str] = []
    for number in range(traces):
        key, arguments = ledger.new_call(str(number))
        ledger.answered(key, server.call("store_trace", arguments))
        questions.append(arguments["memories"][0]["description"])
    return questions[:: max(1, traces // QUESTIONS)]


def _keep_asking(watch: _Watch, bank: Path, build: int) -> int:
    """Ask without a pause until a new build serves; its number."""
    end = time.monotonic() + LONGEST_S
    while True:
        watch.check_all()
        try:
            return wait_for_index(watch.server, bank, timeout_s=0.0, after=build)
        except TimeoutError:
            if time.monotonic() > end:
                raise
