"""Fault 1: kill -9 at random moments under load; what was acknowledged is found, once, complete."""

import random
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.faults.index import DATABASE, indexed_ids, live_ids, wait_for_index
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
        index_difference: ids in which Chroma differs from the truth after catch-up (0 where it is not used).
    """

    kills: int
    sent: int
    acknowledged: int
    replayed: int
    not_found: int
    index_difference: int
    verdict: Verdict
    faults: tuple[str, ...]
    first_answer_s: tuple[float, ...]

    @property
    def clean(self) -> bool:
        """Whether nothing was lost, half written, doubled or answered wrongly."""
        verdict = self.verdict
        wrong = verdict.lost + verdict.partial + verdict.duplicated + self.not_found + self.index_difference
        return not (wrong or verdict.damaged or self.faults)


def kill_under_load(
    directory: Path, *, kills: int, seed: int, chroma: bool = False, environment: Mapping[str, str] | None = None
) -> KillReport:
    """Start a server, load it, kill it, `kills` times on one bank; then check every acknowledgement.

    The next server starts while the present one is under load: half the time, and two processes on one bank.
    """
    environment = {"REASONING_BANK_VECTORS__SEARCH": "chroma" if chroma else "exact", **(environment or {})}
    bank = directory / "bank"
    rng = random.Random(seed)
    ledger = Ledger(seed)
    times: list[float] = []
    previous: list[str] = []
    servers = (_start(directory, environment) for _ in range(kills))
    server = next(servers)
    for number in range(kills):
        following = next(servers, None)
        before = set(ledger.sent)
        times += _round(server, _Calls(ledger, number, replays=[*ledger.unanswered(), *previous]), rng)
        previous = [key for key in ledger.sent if key not in before]
        server = following or server
    not_found = _settle(directory, ledger, environment, chroma=chroma)
    return KillReport(
        kills=kills,
        sent=len(ledger.sent),
        acknowledged=len(ledger.acknowledged),
        replayed=ledger.replayed,
        not_found=not_found,
        index_difference=len(indexed_ids(bank) ^ live_ids(bank)) if chroma else 0,
        verdict=compare(bank / DATABASE, ledger),
        faults=tuple(ledger.faults),
        first_answer_s=tuple(times),
    )


def _start(directory: Path, environment: Mapping[str, str] | None) -> StdioServer:
    return StdioServer(directory / "bank", stderr=directory / "stderr.log", environment=environment)


def _round(server: StdioServer, calls: "_Calls", rng: random.Random) -> list[float]:
    """Load the server until it is killed; the seconds from spawn to its first answer, if it lived to give one."""
    answered = threading.Event()
    workers = [threading.Thread(target=_work, args=(server, calls, answered)) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    # Four kills of five fall into the load, the others anywhere: opening, recovery, first call.
    first = rng.random() < 0.8 and _wait(server, answered)
    took = [time.perf_counter() - server.started] if first else []
    time.sleep(rng.uniform(0.0, 0.7 if first else 2.5))
    if server.process.poll() is not None:
        calls.ledger.fault(f"the server ended by itself with {server.process.returncode}")
    server.kill()
    for worker in workers:
        worker.join(timeout=60)
    return took


def _wait(server: StdioServer, answered: threading.Event) -> bool:
    """Whether the server has answered a call; not if it ended or takes more than a minute."""
    end = time.monotonic() + 60
    while not answered.wait(timeout=0.05):
        if server.process.poll() is not None or time.monotonic() > end:
            return False
    return True


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


def _settle(directory: Path, ledger: Ledger, environment: Mapping[str, str] | None, *, chroma: bool) -> int:
    """Replay what was never answered, ask for every acknowledged memory, and stop cleanly."""
    server = _start(directory, environment)
    missing = 0
    try:
        for key in ledger.unanswered():
            ledger.answered(key, server.call("store_trace", ledger.sent[key]))
        for ids in in_chunks(flat(ack.memory_ids for ack in ledger.acknowledged.values()), PAGE):
            try:
                found = {memory["id"] for memory in server.call("get_memory", {"ids": ids})["memories"]}
            except RefusedError as error:
                ledger.fault(f"get_memory: {error}")
                found = set[str]()
            missing += len(set(ids) - found)
        if chroma:
            wait_for_index(server, directory / "bank", timeout_s=300)
    except TimeoutError as error:
        ledger.fault(str(error))
    finally:
        if server.process.poll() is None and server.stop() != 0:
            ledger.fault("the server did not stop with 0 at the end of its input")
    return missing
