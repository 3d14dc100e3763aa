"""Texts that wait for the model: each once, however many callers want it, in three lanes of urgency."""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import islice

from reasoning_bank.embeddings.embedder import BatchLimits, Kind, Vectors

# How many waiting texts are looked at to fill one batch.
_WINDOW = 128


class Lane(IntEnum):
    """How urgent a text is; a lower lane is emptied first."""

    QUERY = 0
    FOREGROUND = 1
    BACKGROUND = 2


@dataclass(slots=True, eq=False)
class Job:
    """One text and everyone who waits for its vector.

    Attributes:
        future: gets the (dim,) vector, or what went wrong.
        waiters: callers that still want it; without any it is not run.
        tokens: its length, or -1 before the worker counted it.
    """

    text: str
    kind: Kind
    lane: Lane
    future: asyncio.Future[Vectors]
    waiters: int = 0
    tokens: int = -1


class WaitingTexts:
    """The jobs that are waiting or running, by text and kind; used on the event loop only."""

    def __init__(self) -> None:
        self._jobs: dict[tuple[Kind, str], Job] = {}
        # A job that became more urgent is in two lanes; it counts where its own `lane` says.
        self._lanes: tuple[deque[Job], ...] = tuple(deque() for _ in Lane)

    def __len__(self) -> int:
        return len(self._jobs)

    def join(self, text: str, kind: Kind, lane: Lane) -> tuple[Job, bool]:
        """The job of a text, and whether it was there before; a more urgent caller moves it forward."""
        job = self._jobs.get((kind, text))
        known = job is not None
        if job is None:
            job = Job(text, kind, lane, asyncio.get_running_loop().create_future())
            self._jobs[kind, text] = job
            self._lanes[lane].append(job)
        elif lane < job.lane:
            job.lane = lane
            self._lanes[lane].append(job)
        job.waiters += 1
        return job, known

    def leave(self, job: Job) -> None:
        """One caller less; a job that nobody waits for is forgotten."""
        job.waiters -= 1
        if job.future.done():
            # Looked at, so that asyncio does not report an error that every caller was told.
            _ = job.future.cancelled() or job.future.exception()
        elif job.waiters == 0:
            job.future.cancel()
            self._forget(job)

    def finish(self, job: Job, vector: Vectors | None, error: BaseException | None) -> None:
        """Hands a job's result to everyone who still waits."""
        self._forget(job)
        if job.future.done():
            return
        if error is not None:
            job.future.set_exception(error)
        elif vector is not None:
            job.future.set_result(vector)

    def fail_all(self, error: BaseException) -> None:
        """Ends every wait with an error."""
        for job in list(self._jobs.values()):
            self.finish(job, None, error)

    def window(self) -> list[Job]:
        """The first jobs of the most urgent lane that has any, all of one kind, oldest first."""
        for lane in Lane:
            jobs = self._lanes[lane]
            while jobs and not self._is_waiting(jobs[0], lane):
                jobs.popleft()
            if jobs:
                kind = jobs[0].kind
                waiting = (job for job in jobs if job.kind == kind and self._is_waiting(job, lane))
                return list(islice(waiting, _WINDOW))
        return []

    def _is_waiting(self, job: Job, lane: Lane) -> bool:
        return job.lane == lane and not job.future.done()

    def _forget(self, job: Job) -> None:
        if self._jobs.get((job.kind, job.text)) is job:
            del self._jobs[job.kind, job.text]


def choose(window: Sequence[Job], limits: BatchLimits) -> list[Job]:
    """The jobs to run together: the oldest, and those of similar length that fit beside it.

    The oldest is always taken, so nothing starves. A padded batch costs its longest text times its rows; that product
    stays within `limits.tokens`, and texts above `limits.alone_above_tokens` share with none.
    """
    return list(_fitting(window, limits))


def _fitting(window: Sequence[Job], limits: BatchLimits) -> Iterator[Job]:
    longest = window[0].tokens
    taken = 0
    for job in window:
        if taken == limits.texts:
            return
        padded = max(longest, job.tokens)
        if taken == 0 or (padded <= limits.alone_above_tokens and padded * (taken + 1) <= limits.tokens):
            longest = padded
            taken += 1
            yield job
