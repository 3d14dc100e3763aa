"""Fault 1: kill -9 at random moments under load; what was acknowledged is found, once, complete."""

import random
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.faults.ledger import Ledger, Verdict, compare, flat, in_chunks
from tests.faults.stdio_client import RefusedError, ServerGoneError, StdioServer

WORKERS = 8
"""Calls in flight."""
PAGE = 20
"""Ids per `get_memory`."""


@dataclass(frozen=True)
class KillReport:
    """What many kills showed.

    Attributes:
        first_answer_s: spawn to first answered call, per round, in seconds; the SDK's import included.
        not_found: acknowledged memories that `get_memory` does not have at the end.
    """

    kills: int
    sent: int
    acknowledged: int
    replayed: int
    not_found: int
    verdict: Verdict
    faults: tuple[str, ...]
    first_answer_s: tuple[float, ...]

    @property
    def clean(self) -> bool:
        """Whether nothing was lost, half written, doubled or answered wrongly."""
        verdict = self.verdict
        wrong = verdict.lost + verdict.partial + verdict.duplicated + self.not_found
        return not (wrong or verdict.damaged or self.faults)


def kill_under_load(
    directory: Path, *, kills: int, seed: int, environment: Mapping[str, str] | None = None
) -> KillReport:
    """Start a server, load it, kill it, `kills` times on one bank; then check every acknowledgement."""
    rng = random.Random(seed)
    ledger = Ledger(seed)
    times: list[float] = []
    previous: list[str] = []
    for number in range(kills):
        before = set(ledger.sent)
        times += _round(directory, ledger, number, rng, previous, environment)
        previous = [key for key in ledger.sent if key not in before]
    not_found = _settle(directory, ledger, environment)
    return KillReport(
        kills=kills,
        sent=len(ledger.sent),
        acknowledged=len(ledger.acknowledged),
        replayed=ledger.replayed,
        not_found=not_found,
        verdict=compare(next((directory / "bank").glob("*.db")), ledger),
        faults=tuple(ledger.faults),
        first_answer_s=tuple(times),
    )


def _round(
    directory: Path,
    ledger: Ledger,
    number: int,
    rng: random.Random,
    previous: list[str],
    environment: Mapping[str, str] | None,
) -> list[float]:
    server = StdioServer(directory / "bank", stderr=directory / "stderr.log", environment=environment)
    answered = threading.Event()
    calls = _Calls(ledger, number, replays=[*ledger.unanswered(), *previous])
    workers = [threading.Thread(target=_work, args=(server, calls, answered)) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    # Four kills of five fall into the load, the others anywhere from the spawn on: opening, recovery, first call.
    if rng.random() < 0.8:
        answered.wait(timeout=60)
        took = [time.perf_counter() - server.started] if answered.is_set() else []
        time.sleep(rng.uniform(0.0, 0.35))
    else:
        time.sleep(rng.uniform(0.0, 2.5))
        took = []
    server.kill()
    for worker in workers:
        worker.join(timeout=60)
    return took


class _Calls:
    """The calls of a round: those whose fate must be asked again first, then new ones without end; thread-safe."""

    def __init__(self, ledger: Ledger, number: int, *, replays: list[str]) -> None:
        self.ledger = ledger
        self._number = number
        self._lock = threading.Lock()
        self._keys = self._endless(replays)

    def take(self) -> str:
        """The key of the next call."""
        with self._lock:
            return next(self._keys)

    def _endless(self, replays: list[str]) -> Iterator[str]:
        yield from replays
        count = 0
        while True:
            count += 1
            yield self.ledger.new_call(f"{self._number}-{count}")[0]


def _work(server: StdioServer, calls: _Calls, answered: threading.Event) -> None:
    while True:
        key = calls.take()
        try:
            answer = server.call("store_trace", calls.ledger.sent[key])
        except ServerGoneError:
            return
        except RefusedError as error:
            calls.ledger.fault(f"{key}: refused: {error}")
            return
        calls.ledger.answered(key, answer)
        answered.set()


def _settle(directory: Path, ledger: Ledger, environment: Mapping[str, str] | None) -> int:
    """Replay what was never answered, ask for every acknowledged memory, and stop cleanly."""
    server = StdioServer(directory / "bank", stderr=directory / "stderr.log", environment=environment)
    try:
        for key in ledger.unanswered():
            ledger.answered(key, server.call("store_trace", ledger.sent[key]))
        missing = 0
        for ids in in_chunks(flat(ack.memory_ids for ack in ledger.acknowledged.values()), PAGE):
            try:
                found = {memory["id"] for memory in server.call("get_memory", {"ids": ids})["memories"]}
            except RefusedError as error:
                ledger.fault(f"get_memory: {error}")
                found = set[str]()
            missing += len(set(ids) - found)
    finally:
        if server.process.poll() is None and server.stop() != 0:
            ledger.fault("the server did not stop with 0 at the end of its input")
    return missing
