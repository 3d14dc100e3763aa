"""ChromaDB as a vector index: derived from the truth, disposable, and never in the way of a search.

Chroma corrupts itself silently when two processes open one directory, so only the holder of a kernel lock writes
(embedded: opens at all). Every call runs in a worker thread under our own time limit. Whatever goes wrong, `nearest`
answers None and the caller searches exactly; `Indexer` opens, fills, replaces and drops builds in the background.
"""

import contextlib
import logging
import re
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

import anyio
import anyio.to_thread

from reasoning_bank.cache.memory import CacheStatistics, MemoryCache
from reasoning_bank.errors import StorageError
from reasoning_bank.monitoring.observing import Observe, Timed, unobserved
from reasoning_bank.vectors.connection import Cloud, Server
from reasoning_bank.vectors.generation import Build, Generation, Held
from reasoning_bank.vectors.index import Candidates, IndexState, IndexStatus, Vector
from reasoning_bank.vectors.ownership import Ownership
from reasoning_bank.vectors.verification import leave_clean, take_clean, verify_directory

logger = logging.getLogger(__name__)

T = TypeVar("T")

WORKING_S = 120.0
"""Longest wait for one write or for opening: minutes of work are cut into batches, so more means it hangs."""
ANSWER_S = 30.0
"""Longest wait for one answer of a server, so that no thread of ours hangs for ever; a search goes on far earlier."""
LOCAL_RECORDS = 5461
CLOUD_RECORDS = 300
"""What one call may carry: Chroma says the first of itself, the second is the quota of its cloud, of answers too."""
THREADS = 4
_GENERATION = re.compile(r"\d{6}")


class ChromaDBAdapter:
    """`VectorIndex` on Chroma: embedded in one process, on a server, or in Chroma Cloud."""

    def __init__(
        self,
        persist_directory: Path | str,
        enable_memory_cache: bool = True,
        cache_size: int = 1000,
        batch_size: int = 500,
        *,
        at: Server | Cloud | None = None,
        timeout_s: float = 2.0,
        observe: Observe = unobserved,
    ) -> None:
        """Describe the index; nothing is opened or imported yet.

        Args:
            persist_directory: where embedded builds live, one folder each; the lock file `<name>.lock` lies beside
                it, also for a server, so that one process of this bank writes.
            enable_memory_cache: remember the candidates of repeated queries while nothing changes.
            cache_size: queries remembered.
            batch_size: vectors per write, cut to what Chroma takes. One at a time is 30 to 80 times slower.
            at: a server or Chroma Cloud instead of a directory.
            timeout_s: seconds a search waits for candidates before it goes on without them.
            observe: is told what asking Chroma ("index.query") and writing to it ("index.write") took.
        """
        self._directory = Path(persist_directory)
        self._at = at
        self._largest = CLOUD_RECORDS if isinstance(at, Cloud) else LOCAL_RECORDS
        self.batch_size = min(batch_size, self._largest)
        self._timeout_s = timeout_s
        self._observe = observe
        self._cache: MemoryCache[Candidates] = MemoryCache(cache_size if enable_memory_cache else 0)
        self._ownership = Ownership(self._directory.with_name(f"{self._directory.name}.lock"))
        self._serving: Generation | None = None
        self._status: IndexStatus = "closed"
        self._owner = False
        self._threads: anyio.CapacityLimiter | None = None

    @property
    def mode(self) -> Literal["embedded", "http", "cloud"]:
        """Where Chroma runs."""
        match self._at:
            case None:
                return "embedded"
            case Server():
                return "http"
            case Cloud():
                return "cloud"

    @property
    def status(self) -> IndexStatus:
        """How the index as a whole is."""
        return self._status

    @property
    def owner(self) -> bool:
        """Whether this process was the one that writes when that was last asked."""
        return self._owner

    @property
    def build(self) -> Build | None:
        """The build that serves, None when none does."""
        return self._serving.build if self._serving else None

    async def apply(
        self, workspace: str, upserts: Sequence[tuple[str, Vector]], deletes: Sequence[str], *, seq: int
    ) -> None:
        """Bring the workspace to change `seq`.

        Raises:
            StorageError: "locked" when another process owns the index, "damaged" when it must be rebuilt, "io" when
                it is not open or does not answer. Applying the batch again later is always right.
        """
        await self.fill(self._required(), workspace, upserts, deletes, seq=seq)

    async def nearest(self, workspace: str, query: Vector, limit: int) -> Candidates | None:
        """Return nearest ids; None when the index cannot answer now, or does not know the workspace."""
        generation = self._serving
        if generation is None or self._status != "ready" or limit < 1:
            return None
        held = generation.held(workspace)
        if held is None:
            return None
        limit = min(limit, self._largest)
        key = (workspace, generation.build, held.applied_seq, limit, query.tobytes())
        if (known := self._cache.get(key)) is not None:
            return known
        try:
            with Timed(self._observe, "index.query"):
                ask = partial(generation.nearest, workspace, query, limit)
                found = await self._work(generation, ask, self._timeout_s)
        except StorageError as error:
            logger.warning("no candidates from the vector index: %s", error)
            return None
        if found is not None:
            self._cache.put(key, found)
        return found

    async def state(self, workspace: str) -> IndexState:
        """Return what the index holds of the workspace."""
        generation = self._serving
        if generation is None:
            return IndexState(self._status)
        held, build = self.held(workspace), generation.build
        return IndexState(self._status, held.applied_seq, held.count, held.digest, build.model_id, str(build.number))

    async def close(self) -> None:
        """Stop answering, give up ownership."""
        generation, sound = self._serving, self._status == "ready"
        self._serving, self._status, self._owner = None, "closed", False
        with anyio.CancelScope(shield=True):
            # A write that would not end in time still runs in its thread: then only the end of this process frees
            # the lock, because two writers are what it is there to prevent.
            if generation is None or await anyio.to_thread.run_sync(_close, generation, sound):
                await anyio.to_thread.run_sync(self._ownership.release)

    def get_cache_statistics(self) -> CacheStatistics:
        """Return how often a repeated query was answered without asking Chroma."""
        return self._cache.get_statistics()

    async def claim(self) -> bool:
        """Become, or stay, the one process that writes; False while another one is.

        Raises:
            StorageError: the lock file cannot be made or locked.
        """
        self._owner = await anyio.to_thread.run_sync(self._ownership.held)
        if self._owner:
            return True
        if self._at is None:
            # Never owned, or someone removed the lock file and another process may own by now: its directory is no
            # longer ours to read, even if we win it back.
            await self._stop_serving()
        self._owner = await anyio.to_thread.run_sync(self._claim)
        if not self._owner and self._serving is None:
            self._status = "waiting"
        return self._owner

    async def open(self, build: Build) -> None:
        """Work on a build that is there. An embedded one is verified in a process of its own first.

        Raises:
            StorageError: "damaged" when it is missing or broken, "locked" when another process owns it, "io".
        """
        generation = self._generation(build)
        owner = await anyio.to_thread.run_sync(self._ownership.held)
        if self._at is None and not owner:
            raise StorageError("another process owns the vector index", code="locked")
        self._status = "building"
        try:
            if isinstance(generation.at, Path) and not await anyio.to_thread.run_sync(take_clean, generation.at):
                await verify_directory(generation.at)
            await self._work(generation, partial(generation.open, count=owner), WORKING_S)
        except StorageError as error:
            self._status = _status_after(error)
            raise
        await self.serve(generation)

    async def begin(self, build: Build) -> Generation:
        """Return a new, empty build to `fill`, while the old one goes on serving.

        Raises:
            StorageError: it cannot be made; "locked" when another process owns the index.
        """
        if self._serving is None:
            self._status = "building"
        generation = self._generation(build)
        if isinstance(generation.at, Path):
            await anyio.to_thread.run_sync(_remove, generation.at)
        try:
            await self._work(generation, self._as_owner(generation.create), WORKING_S)
        except StorageError as error:
            if self._serving is None:
                self._status = _status_after(error)
            raise
        return generation

    async def fill(
        self,
        generation: Generation,
        workspace: str,
        upserts: Sequence[tuple[str, Vector]],
        deletes: Sequence[str] = (),
        *,
        seq: int,
    ) -> Held:
        """Do what `apply` does, to any build."""
        change = partial(generation.apply, workspace, upserts, deletes, seq=seq)
        with Timed(self._observe, "index.write"):
            return await self._work(generation, self._as_owner(change), WORKING_S)

    async def serve(self, generation: Generation) -> None:
        """Work on this build from now on, answer from it once it is vouched for, and close the one before."""
        before, self._serving = self._serving, generation
        self._status = "building"
        if before is not None and before is not generation:
            await anyio.to_thread.run_sync(before.close)

    async def discard(self, generation: Generation) -> None:
        """Give up a build that is not to be served."""
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(generation.close)
            if isinstance(generation.at, Path):
                await anyio.to_thread.run_sync(_remove, generation.at)

    async def remove_others(self) -> None:
        """Delete every build of this bank that does not serve.

        Raises:
            StorageError: a server does not answer, or this process is not the owner.
        """
        if (generation := self._serving) is not None:
            removal = generation.drop_others if self._at else partial(self._remove_directories, generation)
            await self._work(generation, self._as_owner(removal), WORKING_S)

    async def reread(self) -> None:
        """Learn what another process has written to the server since.

        Raises:
            StorageError: the server does not answer, or its data is gone.
        """
        if (generation := self._serving) is not None:
            await self._work(generation, generation.refresh, WORKING_S)

    async def look(self) -> None:
        """Notice that the directory of the build that serves is gone, though nobody asked it anything."""
        if (generation := self._serving) is not None:
            try:
                await self._work(generation, generation.check_directory, self._timeout_s)
            except StorageError as error:
                logger.warning("%s", error)

    async def stored(self, workspace: str, ids: Sequence[str]) -> dict[str, Vector]:
        """Return the vectors the index holds of these ids.

        Raises:
            StorageError: it is not open, damaged, or does not answer.
        """
        generation = self._required()
        return await self._work(generation, partial(generation.vectors, workspace, ids), WORKING_S)

    def held(self, workspace: str) -> Held:
        """Return what the build that serves holds of a workspace."""
        generation = self._serving
        return (generation.held(workspace) if generation else None) or Held(workspace)

    def all_held(self) -> list[Held]:
        """Return what the build that serves holds of every workspace."""
        return [self.held(workspace) for workspace in self._serving.workspaces()] if self._serving else []

    def vouch(self) -> None:
        """Start answering: the build that serves was found to hold what it must."""
        if self._serving is not None and self._status == "building":
            self._status = "ready"

    def condemn(self) -> None:
        """Stop answering: the build that serves was found to be wrong."""
        self._status = "bad"

    def numbers(self) -> list[int]:
        """Return the numbers of the embedded builds on disk. Blocks for a directory listing."""
        if self._at is not None or not self._directory.is_dir():
            return []
        return sorted(int(each.name) for each in self._directory.iterdir() if _GENERATION.fullmatch(each.name))

    def _required(self) -> Generation:
        if self._serving is None:
            raise StorageError("the vector index is not open", code="io")
        return self._serving

    def _generation(self, build: Build) -> Generation:
        at = self._at or self._directory / f"{build.number:06d}"
        return Generation(at, build, batch_size=self.batch_size, timeout_s=max(self._timeout_s, ANSWER_S))

    def _claim(self) -> bool:
        try:
            self._directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return self._ownership.claim()
        except OSError as error:
            raise StorageError(f"the vector index cannot be locked: {error.strerror}", code="io") from error

    def _as_owner(self, work: Callable[[], T]) -> Callable[[], T]:
        def checked() -> T:
            if not self._ownership.held():
                raise StorageError("another process owns the vector index", code="locked")
            return work()

        return checked

    async def _work(self, generation: Generation, work: Callable[[], T], timeout_s: float) -> T:
        """Run `work` in a thread; a failure of the build that serves becomes the status of the index."""
        self._threads = self._threads or anyio.CapacityLimiter(THREADS)
        try:
            with anyio.fail_after(timeout_s):
                return await anyio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=self._threads)
        except TimeoutError as error:
            self._note(generation, "unreachable" if self._at else self._status)
            raise StorageError(f"the vector index did not answer in {timeout_s:g} s", code="io") from error
        except StorageError as error:
            if error.code != "locked":
                self._note(generation, _status_after(error))
            raise

    def _note(self, generation: Generation, status: IndexStatus) -> None:
        # What a build says while or after it is replaced says nothing about the one that serves.
        if generation is self._serving:
            self._status = status

    async def _stop_serving(self) -> None:
        generation, self._serving = self._serving, None
        if generation is not None:
            await anyio.to_thread.run_sync(generation.close)

    def _remove_directories(self, serving: Generation) -> None:
        for number in self.numbers():
            if number != serving.build.number:
                _remove(self._directory / f"{number:06d}")


def _close(generation: Generation, sound: bool) -> bool:
    finished = generation.close()
    if sound and finished and isinstance(generation.at, Path):
        # A full disk or a directory that was taken away only means that the next owner looks for itself.
        with contextlib.suppress(OSError):
            leave_clean(generation.at)
    return finished


def _status_after(error: StorageError) -> IndexStatus:
    return "bad" if error.code == "damaged" else "unreachable"


def _remove(directory: Path) -> None:
    # What cannot be removed now (Windows keeps open files) is tried again when the next build is done.
    shutil.rmtree(directory, ignore_errors=True)
