"""The bank: everything an assistant, a command or a program can ask of it, in one place.

async with ReasoningBank(load_settings()) as bank:
    await bank.store_trace("default", NewTrace(task="…", outcome="success"))
    found = await bank.retrieve("default", Query("…"))
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from types import TracebackType
from typing import Literal, Self, TypeVar, Unpack

import anyio
import anyio.to_thread

from reasoning_bank import diagnosis, reports, waiting
from reasoning_bank.background.tasks import Guarded
from reasoning_bank.batches import Batches
from reasoning_bank.bounds import check_query, named_workspace
from reasoning_bank.compression.results import Compression, CompressionOptions
from reasoning_bank.compression.threaded import Report
from reasoning_bank.diagnosis import Check
from reasoning_bank.errors import BusyError, NotFoundError, StorageError
from reasoning_bank.figures import Figures, open_figures
from reasoning_bank.learning import rating
from reasoning_bank.learning.capture import CAPTURE
from reasoning_bank.learning.recording import LIBRARY
from reasoning_bank.monitoring.metrics import PerformanceMonitor
from reasoning_bank.opening import Clockwork, Rooms, clockwork, open_rooms
from reasoning_bank.records import (
    Captured,
    Counters,
    Genealogy,
    ImportedTrace,
    JsonValue,
    Memory,
    MemoryDetail,
    MemoryItem,
    NewTrace,
    Query,
    Retrieval,
    RetrievalEverywhere,
    RetrievedMemory,
    Source,
    StoreResult,
    Trace,
    Verdict,
)
from reasoning_bank.retrieval.contributions import Contributions
from reasoning_bank.retrieval.everywhere import search_everywhere
from reasoning_bank.retrieval.keeping import kept_block
from reasoning_bank.settings import Settings
from reasoning_bank.storage import lineage, traces
from reasoning_bank.storage.profile import WorkspaceProfile
from reasoning_bank.text.sanity import clean_text, required_text
from reasoning_bank.transfer.identity import identified
from reasoning_bank.upkeep import Upkeep

logger = logging.getLogger(__name__)

T = TypeVar("T")


class ReasoningBank:
    """A durable bank of memories, shared by any number of processes; `async with` opens and closes it.

    Every answer concerns one workspace, named first. Writes are durable when they return.

    Args:
        settings: where the bank is and how it works.
        clock: time, ids and chance; tests pass their own.
        warm: a workspace to read into memory after opening, in the background; True for those searched last.
    """

    def __init__(self, settings: Settings, *, clock: Clockwork | None = None, warm: str | bool = False) -> None:
        self.settings = settings
        self.monitor = PerformanceMonitor()
        self._contributions = Contributions(self.monitor.count)
        self._clock = clock or clockwork()
        self._warm = warm
        self._stack = AsyncExitStack()
        self._opened: Rooms | None = None
        self._figures: Figures | None = None

    async def __aenter__(self) -> Self:
        """Open the bank; the embedding model goes on loading in the background.

        Raises:
            StorageError: the data directory cannot be used; the text says why and what to do.
            ConfigError: the settings contradict each other.
        """
        async with AsyncExitStack() as opening:
            self._opened = await open_rooms(self.settings, self._clock, opening, self.monitor)
            figures = open_figures(self._opened, self.monitor, self.settings, now=self._clock.now)
            self._figures = await opening.enter_async_context(figures)
            await opening.enter_async_context(Guarded("health", self._watch_health))
            if self._warm and self.settings.cache.warm:
                warm = partial(self._opened.warmer.run, self._warm)
                await opening.enter_async_context(Guarded("warm-up", warm))
            self._stack = opening.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        rooms, self._opened, self._figures = self._opened, None, None
        with anyio.CancelScope(shield=True):
            try:
                if rooms is not None:
                    await rooms.usage.flush()
            except (StorageError, BusyError) as failed:
                logger.warning("the last uses were not counted: %s", failed)
            finally:
                await self._stack.aclose()

    @property
    def rooms(self) -> Rooms:
        """What the open bank consists of, for reports and diagnosis; raises StorageError where it is not open."""
        if self._opened is None:
            raise StorageError("the bank is not open", code="io")
        return self._opened

    @property
    def figures(self) -> Figures:
        """What was measured and what follows: alerts, advice, trials, reports; raises StorageError as `rooms` does."""
        if self._figures is None:
            raise StorageError("the bank is not open", code="io")
        return self._figures

    @property
    def upkeep(self) -> Upkeep:
        """What is done to the bank now and then: privacy, index, given-up work, access tokens."""
        return Upkeep(self.rooms, now=self._clock.now)

    @property
    def batches(self) -> Batches:
        """Lists of queries, prompts and traces in one call each."""
        return Batches(self.rooms, retrieve=self.retrieve, compress=self.compress, measure=self.monitor.measure)

    # Writing

    async def store_trace(
        self,
        workspace: str,
        trace: NewTrace,
        *,
        memories: Sequence[MemoryItem] | None = None,
        idempotency_key: str | None = None,
        source: Source = LIBRARY,
        wait_s: float = 0.0,
    ) -> StoreResult:
        """Keep what happened on a task and what was learned from it; durable when it returns.

        Args:
            memories: lessons the assistant distilled itself, at most 5; None lets the rules distil.
            idempotency_key: repeating a call with its key returns the first answer.
            source: the way it came.
            wait_s: longest wait, in seconds, for a language model that has still to look at it; the answer then says
                what it found, or that it is still queued.

        Raises:
            InputError: something of it cannot be kept; the text names the field and what to send.
            StorageError: it was not kept.
        """
        recorder = self.rooms.learning.recorder
        record = partial(recorder.record, drafts=memories, idempotency_key=idempotency_key, source=source)
        with self.monitor.measure("store_trace"):
            result = await _in_thread(partial(record, awaited=wait_s > 0), named_workspace(workspace), trace)
        self.rooms.worker.wake()
        return await waiting.until_looked_at(self.rooms, workspace, result, wait_s=wait_s)

    async def capture_knowledge(
        self,
        workspace: str,
        question: str,
        answer: str,
        *,
        context: str = "",
        force: bool = False,
        source: Source = CAPTURE,
    ) -> Captured:
        """Keep an answer from a conversation if it is worth remembering; durable when it returns.

        Args:
            context: when it holds: the project, the version, the situation.
            force: keep it whatever it seems worth.
            source: the client it came with.

        Raises:
            InputError: a text is empty, or cannot be kept; the text names the field and what to send.
        """
        capture = partial(self.rooms.learning.capturer.capture, context=context, force=force, source=source)
        with self.monitor.measure("capture_knowledge"):
            captured = await _in_thread(capture, named_workspace(workspace), question, answer)
        self.rooms.worker.wake()
        return captured

    async def store_many(self, workspace: str, batch: Sequence[ImportedTrace]) -> list[StoreResult]:
        """Keep rows from elsewhere in one transaction: redacted, never gated, merged or dropped.

        A row that is there already is reported with the reason "already stored".
        """
        with self.monitor.measure("store_many"):
            results = await _in_thread(
                self.rooms.learning.importer.store, named_workspace(workspace), batch, identified
            )
        self.rooms.worker.wake()
        return results

    async def rate(
        self, workspace: str, ids: Sequence[str], verdict: Verdict, *, note: str | None = None, actor: str | None = None
    ) -> dict[str, Counters]:
        """Count a verdict on memories that were served; their new counters by id.

        A memory that repeatedly misled several raters is quarantined, one that helped in several tasks is trusted.

        Raises:
            NotFoundError: naming the ids this workspace does not have; nothing is counted then.
        """
        if note is not None:
            note = await _in_thread(self._redacted, workspace, note, "note")
        if actor is not None:
            actor = await _in_thread(self._redacted, workspace, actor, "actor")
        with self.monitor.measure("rate_memory"):
            # What it was given for a moment ago says which task the verdict is about.
            await self.rooms.usage.flush()
            counters = await self.rooms.database.write(
                lambda c: rating.rate(c, workspace, ids, verdict, now=self._clock.now(), note=note, actor=actor)
            )
        if verdict == "helped":
            self._contributions.helped(workspace, ids)
        return counters

    async def update_memory(self, workspace: str, id: str, changes: Mapping[str, JsonValue]) -> Memory:
        """Give a memory new words; raises NotFoundError or InputError."""
        with self.monitor.measure("update_memory"):
            memory = await _in_thread(self.rooms.learning.editor.update, workspace, id, changes)
        self.rooms.worker.wake()
        return memory

    async def forget_memory(self, workspace: str, id: str, *, undo: bool = False) -> Memory:
        """Hide a memory from every search, or bring it back; raises NotFoundError."""
        with self.monitor.measure("forget_memory"):
            memory = await _in_thread(partial(self.rooms.learning.editor.forget, undo=undo), workspace, id)
        self.rooms.worker.wake()
        return memory

    # Reading

    async def retrieve(self, workspace: str, query: Query) -> Retrieval:
        """The few memories that will help with a task, best first, or none.

        Raises:
            InputError: the task is blank or too long, or k is out of bounds.
            StorageError: the bank could not be read.
        """
        check_query(query, self.settings.limits)
        with self.monitor.measure("retrieve_memory"):
            found = await self.rooms.retriever.retrieve(named_workspace(workspace), query)
        reports.count_search(self.monitor, found)
        self._contributions.served(workspace, found)
        self.rooms.learning.served.note(workspace, [(each.memory.id, each.memory.item) for each in found.memories])
        ids = [retrieved.memory.id for retrieved in found.memories]
        self.rooms.usage.served(workspace, ids, task=query.task, now=self._clock.now())
        if query.detail == "index":
            self.rooms.prefetcher.offer(workspace, ids)
        return found

    async def retrieve_everywhere(
        self, query: Query, *, workspaces: Sequence[str] | None = None
    ) -> RetrievalEverywhere:
        """The most relevant memories of every workspace, or of those named, each searched by itself.

        For whoever owns the bank: no client can reach it, and nothing found counts as used.

        Raises:
            InputError: as `retrieve` does.
            NotFoundError: naming the workspaces the bank does not have.
        """
        check_query(query, self.settings.limits)
        known = await self.rooms.database.read(reports.workspace_names)
        if missing := sorted(set(workspaces or ()).difference(known)):
            raise NotFoundError(f"no workspace {', '.join(map(repr, missing))}")
        chosen = known if workspaces is None else list(dict.fromkeys(workspaces))
        with self.monitor.measure("retrieve_everywhere"):
            return await search_everywhere(self.rooms.retriever.visit, chosen, query)

    async def get_memories(self, workspace: str, ids: Sequence[str]) -> list[MemoryDetail]:
        """Memories by id with their traces and genealogies, in the order of the ids.

        Raises:
            NotFoundError: naming the ids this workspace does not have.
        """
        with self.monitor.measure("get_memory"):
            return await self.rooms.reader.details(workspace, ids)

    async def profile(self, workspace: str) -> WorkspaceProfile:
        """What a workspace is about: counts, tags, domains, languages and the memories that helped most."""
        return await self.rooms.reader.profile(named_workspace(workspace))

    async def get_trace(self, workspace: str, id: str) -> Trace:
        """A trace with its complete trajectory; raises NotFoundError."""
        trace = await self.rooms.database.read(lambda c: traces.by_id(c, workspace, id))
        if trace is None:
            raise NotFoundError(f"no trace {id!r} in this workspace")
        return trace

    async def genealogy(self, workspace: str, id: str) -> Genealogy:
        """Where a memory comes from and what came of it; raises NotFoundError."""
        found = await self.rooms.database.read(lambda c: lineage.genealogy(c, workspace, id))
        if found is None:
            raise NotFoundError(f"no memory {id!r} in this workspace")
        return found

    async def compress(
        self, prompt: str, *, report: Report | None = None, **options: Unpack[CompressionOptions]
    ) -> Compression:
        """A prompt in fewer tokens, within both bounds; `report` is told the share done. Raises InputError."""
        required_text(prompt, "prompt")
        with self.monitor.measure("compress_prompt"):
            return await self.rooms.compressor.compress(prompt, report=report, **options)

    def count_tokens(self, text: str) -> int:
        """How many tokens a text takes; see `settings.compression.tokenizer`."""
        return self.rooms.count_tokens(text)

    def context_block(
        self, workspace: str, found: Sequence[RetrievedMemory], *, token_budget: int, query: str = ""
    ) -> str:
        """Retrieved memories as a block ready to read, in at most `token_budget` tokens (0 for no limit).

        Of a memory too long for its share, what has to do with the query is kept; without one, its beginning.
        """
        contexts = self.rooms.caches.for_searches().contexts
        return kept_block(contexts, workspace, found, budget=token_budget, query=query, count_tokens=self.count_tokens)

    async def complete(
        self, kind: Literal["workspace", "tag", "domain", "memory", "trace"], prefix: str, workspace: str
    ) -> list[str]:
        """Up to 100 names that begin with a prefix, in order."""
        return await self.rooms.database.read(lambda c: reports.completions(c, kind, prefix, workspace))

    def export_rows(self, workspace: str | None) -> AsyncIterator[tuple[Trace, Sequence[Memory]]]:
        """Every trace of a workspace, or of all, with its memories, in the order they were stored."""
        return reports.every_trace(self.rooms.database, workspace)

    # What it says of itself

    async def stats(self, workspace: str) -> dict[str, JsonValue]:
        """Counts of a workspace, and of this process: caches, searches, latencies per operation."""
        return await reports.stats(self.rooms, self.figures, self.monitor, workspace, now=self._clock.now())

    async def performance(self, name: str | None = None) -> dict[str, JsonValue]:
        """Every figure of this process in every window, or those of a name or group of names; raises NotFoundError."""
        return reports.measured(self.monitor, name)

    async def health(self) -> dict[str, JsonValue]:
        """Each part of the bank: ok, degraded or down, since when, and why."""
        return await reports.health(self.rooms, now=self._clock.now())

    async def workspaces(self) -> list[dict[str, JsonValue]]:
        """Every workspace with what it holds."""
        return await self.rooms.database.read(reports.workspace_rows)

    async def diagnose(self, *, ask_models: bool = False) -> list[Check]:
        """Every part of the bank looked at, with what to do where it is not well; see `reasoning-bank doctor`."""
        now = self._clock.now()
        return await diagnosis.diagnose(self.rooms, self.figures, self.settings, now=now, ask_models=ask_models)

    async def wait_until_searchable(
        self, *, progress: Callable[[int, int], object] | None = None, timeout_s: float | None = None
    ) -> None:
        """Wait until every live memory can be found by meaning.

        Args:
            progress: called with the embedded and the live memories.

        Raises:
            ModelUnavailableError: there is no model to wait for, or it failed too often on some of them.
            TimeoutError: the time was up.
        """
        async with asyncio.timeout(timeout_s):
            await waiting.until_searchable(self.rooms, now=self._clock.now, progress=progress)

    async def _watch_health(self) -> None:
        while True:  # so that "since" is about when it happened, not when somebody asked
            await self.health()
            await anyio.sleep(self.settings.monitoring.sample_s)

    def _redacted(self, workspace: str, text: str, field: str) -> str:
        return self.rooms.redactor(workspace).text(clean_text(text, field), field).text


async def _in_thread(work: Callable[..., T], *args: object) -> T:
    """Run a write in a worker thread; a cancelled caller does not stop it half-way."""
    return await anyio.to_thread.run_sync(work, *args, abandon_on_cancel=False)
