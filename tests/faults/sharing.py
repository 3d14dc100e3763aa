"""Fault 2: several processes on one bank; nothing is lost, nothing is locked, each finds the others' items at once."""

import random
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.faults.index import DATABASE, indexed_ids, live_ids, wait_for_index
from tests.faults.ledger import Ledger, Verdict, compare
from tests.faults.stdio_client import Json, RefusedError, ServerGoneError, StdioServer


@dataclass(frozen=True)
class SharingReport:
    """What several processes on one bank showed.

    Attributes:
        looked: searches in another process for what was acknowledged just before.
        unseen: those that did not find it.
        index_difference: ids in which Chroma differs from the truth after catch-up.
    """

    processes: int
    seconds: float
    acknowledged: int
    looked: int
    unseen: int
    index_difference: int
    verdict: Verdict
    faults: tuple[str, ...]

    @property
    def clean(self) -> bool:
        """Whether nothing was lost, hidden, locked or different."""
        verdict = self.verdict
        wrong = verdict.lost + verdict.partial + verdict.duplicated + self.unseen + self.index_difference
        return not (wrong or verdict.damaged or self.faults)


class _Tally:
    """Counts of all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.looked = 0
        self.unseen = 0

    def seen(self, found: bool) -> None:
        with self._lock:
            self.looked += 1
            self.unseen += not found


def share(
    directory: Path, *, processes: int, seconds: float, seed: int, environment: Mapping[str, str] | None = None
) -> SharingReport:
    """Let each process store, and look in another one for what it stored."""
    bank = directory / "bank"
    environment = {
        # Chroma is used from the first memory on; by default a small bank does without.
        "REASONING_BANK_VECTORS__SEARCH": "chroma",
        # The lessons of a trace say the same here, and would be brought together: that has its own fault.
        "REASONING_BANK_LEARNING__CONSOLIDATE": "false",
        **(environment or {}),
    }
    ledger, tally = Ledger(seed), _Tally()
    # All start at once: creating the bank is part of the test.
    servers = [
        StdioServer(bank, stderr=directory / f"stderr-{n}.log", environment=environment) for n in range(processes)
    ]
    try:
        for server in servers:
            server.handshake.result(timeout=60)
        end = time.monotonic() + seconds
        threads = [
            threading.Thread(target=_store_and_look, args=(servers, n, end, ledger, tally)) for n in range(processes)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=seconds + 120)
        _catch_up(servers, bank)
    finally:
        codes = [server.stop() for server in servers]
    if any(codes):
        ledger.fault(f"exit codes {codes}")
    for log in directory.glob("stderr-*.log"):
        if "database is locked" in log.read_text(encoding="utf-8", errors="replace"):
            ledger.fault(f"{log.name}: database is locked")
    return SharingReport(
        processes=processes,
        seconds=seconds,
        acknowledged=len(ledger.acknowledged),
        looked=tally.looked,
        unseen=tally.unseen,
        index_difference=len(indexed_ids(bank) ^ live_ids(bank)),
        verdict=compare(bank / DATABASE, ledger),
        faults=tuple(ledger.faults),
    )


def _store_and_look(servers: list[StdioServer], mine: int, end: float, ledger: Ledger, tally: _Tally) -> None:
    rng = random.Random(f"{ledger.seed}-{mine}")
    others = [server for number, server in enumerate(servers) if number != mine]
    count = 0
    while time.monotonic() < end:
        count += 1
        key, arguments = ledger.new_call(f"p{mine}-{count}")
        try:
            answer = servers[mine].call("store_trace", arguments)
            ledger.answered(key, answer)
            found = rng.choice(others).call("retrieve_memory", _question(arguments))
        except (RefusedError, ServerGoneError) as error:
            ledger.fault(f"{key}: {type(error).__name__} {error}")
            return
        wanted = {memory["id"] for memory in answer["memories"]}
        tally.seen(wanted <= {memory["id"] for memory in found["memories"]})


def _question(arguments: Json) -> Json:
    return {"task": arguments["memories"][0]["content"], "k": 10, "min_score": 0, "token_budget": 0}


def _catch_up(servers: list[StdioServer], bank: Path) -> None:
    """Wait for the process that owns the index; another one never shows a build of its own."""
    owner = next((server for server in servers if server.read("bank://stats")["index"]["owner"]), servers[0])
    wait_for_index(owner, bank, timeout_s=120)
