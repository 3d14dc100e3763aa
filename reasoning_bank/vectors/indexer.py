"""Keeps Chroma equal to the truth, in the background: opens, verifies, catches up, rebuilds, gives way.

The change log says what to look at again, the truth what it is now; applying a change twice changes nothing, so a kill
at any point is finished by the next owner. What is wrong is never repaired but built anew beside, then swapped.
"""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Protocol
from uuid import uuid4

import anyio
import anyio.to_thread
import numpy as np

from reasoning_bank.errors import BusyError, StorageError
from reasoning_bank.storage import changes, facts, index_state
from reasoning_bank.storage.database import Database
from reasoning_bank.vectors.chroma import ChromaDBAdapter
from reasoning_bank.vectors.delta import embedded_ids, read_vectors
from reasoning_bank.vectors.generation import Build, Held
from reasoning_bank.vectors.index import IndexStatus, Vector, ids_digest
from reasoning_bank.vectors.survey import Plan, Step, Survey, read_step

logger = logging.getLogger(__name__)

SAME_COSINE = 0.999
WORN_SHARE = 0.3
WORN_AT_LEAST = 1000
"""A build with more deleted vectors than both is built anew: HNSW never gives their room back."""
FIRST_PAUSE_S = 2.0
LONGEST_PAUSE_S = 600.0
CHECK_ROUNDS = 5
_BANK = "bank_id"


@dataclass(frozen=True, slots=True)
class IndexReport:
    """What `doctor` and the statistics say of the index.

    Attributes:
        owner: this process is the one that writes.
        generation: number of the build that answers here, 0 when none does.
        builds: how many this process has made.
        problem: the last thing that went wrong, empty when nothing has since the last success.
    """

    mode: str
    status: IndexStatus
    owner: bool
    generation: int
    model_id: str
    builds: int
    problem: str


class _Apply(Protocol):
    async def __call__(
        self, workspace: str, upserts: Sequence[tuple[str, Vector]], deletes: Sequence[str], *, seq: int
    ) -> object: ...


class Indexer:
    """The life of a `ChromaDBAdapter` beside a database; `run` it in a task, `adapter.close` after.

    Several processes may run one each on the same bank: the holder of the lock indexes, the others wait for it to
    go (embedded), or read what it has written (server).
    """

    def __init__(
        self,
        database: Database,
        index: ChromaDBAdapter,
        *,
        now: Callable[[], datetime],
        index_from: int = 1,
        poll_s: float = 1.0,
        claim_s: float = 30.0,
        new_id: Callable[[], str] = lambda: uuid4().hex,
    ) -> None:
        """Prepare; nothing is opened before `run` or `turn`.

        Args:
            database: the truth, open.
            index: the adapter to keep.
            now: clock for what is recorded.
            index_from: embedded memories a workspace must have to be worth a collection.
            poll_s: seconds between looks at the truth; also the shortest time between two writes to the index.
            claim_s: seconds between tries to become the owner.
            new_id: names this bank on a server, once.
        """
        self._database = database
        self._index = index
        self._now = now
        self._poll_s = poll_s
        self._claim_s = claim_s
        self._new_id = new_id
        self._name = f"chroma-{index.mode}"
        self._wake = anyio.Event()
        self._turning = anyio.Lock()
        self._version: int | None = None
        self._survey = Survey(self._name, index_from)
        self._published: dict[str, tuple[int, str, Held]] = {}
        self._unchecked = True
        self._must_rebuild = False
        self._builds = 0
        self._failures = 0
        self._problem = ""

    async def run(self) -> None:
        """Work until cancelled. Failures are logged, shown in `report` and tried again ever later."""
        while True:
            pause_s = await self._round()
            with anyio.move_on_after(pause_s):
                await self._wake.wait()
                # Writes come in bursts, and one batch costs as much as one vector.
                await anyio.sleep(self._poll_s)
            self._wake = anyio.Event()

    def wake(self) -> None:
        """Say that the truth has changed, so that nobody waits for the next look."""
        self._wake.set()

    async def rebuild(self) -> bool:
        """Build the index anew: True when it is done, False when the process that owns it was asked to do it.

        Raises:
            StorageError: why it failed.
        """
        self._must_rebuild = True
        if await self.turn():
            return True
        self._must_rebuild = False
        await self._database.write(lambda connection: index_state.forget(connection, self._name))
        return False

    async def turn(self) -> bool:
        """Bring the index to the truth as it is now; False when another process is the one to do it.

        Raises:
            StorageError: the index or the truth failed; the next turn tries again.
        """
        async with self._turning:
            version = await anyio.to_thread.run_sync(self._database.data_version)
            plan = await self._database.read(self._survey)
            if plan.model_id is None or not (plan.wanted or self._index.build):
                self._must_rebuild = False
            elif not await self._take_part(plan, plan.model_id):
                return False
            self._version, self._failures, self._problem = version, 0, ""
            return True

    def report(self) -> IndexReport:
        """Return how the index is, as seen from this process."""
        build = self._index.build
        return IndexReport(
            mode=self._index.mode,
            status=self._index.status,
            owner=self._index.owner,
            generation=build.number if build else 0,
            model_id=build.model_id if build else "",
            builds=self._builds,
            problem=self._problem,
        )

    async def _round(self) -> float:
        """Do what is due and return the seconds to the next look."""
        try:
            if await self._idle():
                return self._poll_s
            return self._poll_s if await self.turn() else self._claim_s
        except (StorageError, BusyError) as error:
            self._failures += 1
            self._problem = str(error)
            pause_s = min(FIRST_PAUSE_S * 2 ** (self._failures - 1), LONGEST_PAUSE_S)
            logger.warning("vector index: %s (exact search goes on; next try in %g s)", error, pause_s)
            return pause_s

    async def _idle(self) -> bool:
        if self._must_rebuild or self._index.status not in {"ready", "closed"}:
            return False
        await self._index.look()
        version = await anyio.to_thread.run_sync(self._database.data_version)
        return version == self._version and self._index.status in {"ready", "closed"}

    async def _take_part(self, plan: Plan, model_id: str) -> bool:
        if not await self._index.claim():
            await self._follow(plan, model_id)
            return False
        await self._make_ready(plan, model_id)
        await self._catch_up_all(plan, model_id)
        await self._publish()
        return True

    async def _follow(self, plan: Plan, model_id: str) -> None:
        """Read from a server what its owner keeps there."""
        self._unchecked = True
        numbers = plan.generations(model_id)
        if self._index.mode == "embedded" or not numbers:
            return
        build = Build(max(numbers), model_id, await self._bank())
        if self._index.build == build and self._index.status == "ready":
            await self._index.reread()
        else:
            await self._index.open(build)
            self._index.vouch()

    async def _make_ready(self, plan: Plan, model_id: str) -> None:
        """See to it that a sound build of the right model serves."""
        build = self._index.build
        # Another process asks for a rebuild by forgetting what was recorded.
        asked = self._must_rebuild or bool(self._published and not plan.recorded)
        due = asked or (build is not None and (build.model_id != model_id or self._is_worn(plan)))
        if not due and (build is None or self._index.status != "ready"):
            due = not await self._opened(plan, model_id)
        if due:
            await self._rebuild(plan, model_id)

    async def _opened(self, plan: Plan, model_id: str) -> bool:
        """Open the build that is recorded; False when there is none, or it has to be replaced."""
        numbers = plan.generations(model_id)
        if not numbers or self._index.status == "bad":
            return False
        self._unchecked = True
        try:
            await self._index.open(Build(max(numbers), model_id, await self._bank()))
            await self._catch_up_all(plan, model_id)
        except StorageError as error:
            if error.code != "damaged":
                raise
            logger.warning("%s; it is built anew from the bank, exact search goes on", error)
            return False
        await self._index.remove_others()
        return True

    async def _rebuild(self, plan: Plan, model_id: str) -> None:
        numbers = await anyio.to_thread.run_sync(self._index.numbers)
        numbers.extend(row.generation for row in plan.recorded)
        generation = await self._index.begin(Build(max(numbers, default=0) + 1, model_id, await self._bank()))
        try:
            for workspace in plan.wanted:
                await self._fill(workspace, model_id, partial(self._index.fill, generation))
            await self._index.serve(generation)
        except BaseException:
            await self._index.discard(generation)
            raise
        self._unchecked, self._must_rebuild = True, False
        self._builds += 1
        await self._catch_up_all(plan, model_id)
        # Recorded first: a kill in between leaves a build too many, not one too few.
        await self._publish()
        await self._index.remove_others()

    async def _catch_up_all(self, plan: Plan, model_id: str) -> None:
        for workspace in plan.wanted:
            if not self._index.held(workspace).applied_seq:
                await self._fill(workspace, model_id, self._index.apply)
            await self._catch_up(workspace, model_id)
        self._unchecked = False
        self._index.vouch()

    async def _fill(self, workspace: str, model_id: str, apply: "_Apply") -> None:
        """Write all vectors of a workspace; what changes meanwhile has a later seq than the one noted here."""
        seq, ids = await self._database.read(
            lambda connection: (
                changes.last_seq(connection, workspace),
                embedded_ids(connection, workspace, model_id),
            )
        )
        rest = iter(ids)
        while some := list(islice(rest, self._index.batch_size)):
            found, vectors = await self._database.read(
                lambda connection, some=some: read_vectors(connection, workspace, model_id, some)
            )
            await apply(workspace, list(zip(found, vectors, strict=True)), (), seq=0)
        await apply(workspace, (), (), seq=seq)

    async def _catch_up(self, workspace: str, model_id: str) -> None:
        """Apply what changed since; where a check is due, compare with the truth once nothing is left.

        Raises:
            StorageError: "damaged" when the index does not hold what the truth says it must.
        """
        rounds = 0
        while True:
            held = self._index.held(workspace)
            step = await self._database.read(
                partial(
                    read_step,
                    workspace=workspace,
                    model_id=model_id,
                    after=held.applied_seq,
                    limit=self._index.batch_size,
                    check=self._unchecked,
                )
            )
            if step.delta.seq == held.applied_seq:
                break
            delta = step.delta
            await self._index.apply(workspace, delta.upserts, delta.deletes, seq=delta.seq)
            rounds += delta.complete
            if rounds >= CHECK_ROUNDS:
                # Written to faster than it can be compared: the next opening will.
                return
        if self._unchecked:
            await self._compare(workspace, held, step)

    async def _compare(self, workspace: str, held: Held, step: Step) -> None:
        if (held.digest or ids_digest(())) != step.digest:
            self._index.condemn()
            raise StorageError("the vector index does not hold the ids it must", code="damaged")
        stored = await self._index.stored(workspace, [each for each, _ in step.sample])
        for each, vector in step.sample:
            if each not in stored or not _same_direction(stored[each], vector):
                self._index.condemn()
                raise StorageError("the vector index holds other vectors than it must", code="damaged")

    def _is_worn(self, plan: Plan) -> bool:
        held = [self._index.held(workspace) for workspace in plan.wanted]
        removed, count = sum(each.removed for each in held), sum(each.count for each in held)
        return removed > max(WORN_AT_LEAST, WORN_SHARE * (removed + count))

    async def _publish(self) -> None:
        """Record what changed, for the other processes and the next start."""
        build = self._index.build
        if build is None:
            return
        now = self._now()
        held = {each.workspace: (build.number, build.model_id, each) for each in self._index.all_held()}
        fresh = [each for workspace, each in held.items() if self._published.get(workspace) != each]
        if fresh:
            rows = [self._row(number, model_id, each, now) for number, model_id, each in fresh]
            await self._database.write(lambda connection: [index_state.put(connection, row) for row in rows])
            self._published = held

    def _row(self, number: int, model_id: str, held: Held, now: datetime) -> index_state.IndexState:
        return index_state.IndexState(
            workspace=held.workspace,
            name=self._name,
            generation=number,
            model_id=model_id,
            dim=held.dim,
            applied_seq=held.applied_seq,
            count=held.count,
            digest=held.digest,
            status=self._index.status,
            updated_at=now,
        )

    async def _bank(self) -> str:
        """Return the name of this bank on a server; a directory of our own needs none."""
        if self._index.mode == "embedded":
            return ""
        known = await self._database.read(lambda connection: facts.get(connection, _BANK))
        if known is not None:
            return known
        return await self._database.write(lambda connection: facts.put_once(connection, _BANK, self._new_id()))


def _same_direction(one: Vector, other: Vector) -> bool:
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    return math.isclose(lengths, 0.0, abs_tol=1e-9) or float(one @ other) / lengths > SAME_COSINE
