"""What the claims are measured with: banks filled with made-up lessons, a model, a place for files."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, ParamSpec, Protocol, Self, TypeVar

from reasoning_bank.compression.results import Compression
from reasoning_bank.embeddings.embedder import Embedder
from reasoning_bank.errors import ModelUnavailableError
from reasoning_bank.evaluation.bench.filling import BLOCK, WORKSPACE, lesson_row, vary
from reasoning_bank.evaluation.bench.lessons import questions
from reasoning_bank.evaluation.bench.rows import SkippedError
from reasoning_bank.llm.model import LanguageModel
from reasoning_bank.records import ImportedTrace, MemoryDetail, MemoryItem, NewTrace, Query, Retrieval, StoreResult
from reasoning_bank.storage.database import Database

P = ParamSpec("P")
T = TypeVar("T")


class Language(Protocol):
    """The language models of a bank."""

    @property
    def model(self) -> LanguageModel:
        """What answers."""
        ...


class Rooms(Protocol):
    """What a filled bank is looked into for."""

    @property
    def language(self) -> Language | None:
        """Its language models, if it has any."""
        ...

    @property
    def database(self) -> Database:
        """The truth."""
        ...


class Bank(Protocol):
    """The calls that are measured; `ReasoningBank` has them."""

    @property
    def rooms(self) -> Rooms:
        """What it consists of."""
        ...

    async def retrieve(self, workspace: str, query: Query) -> Retrieval:
        """The memories that help with a task."""
        ...

    async def store_trace(
        self, workspace: str, trace: NewTrace, *, memories: Sequence[MemoryItem] | None = None
    ) -> StoreResult:
        """Keep what happened."""
        ...

    async def store_many(self, workspace: str, batch: Sequence[ImportedTrace]) -> list[StoreResult]:
        """Keep many rows in one transaction."""
        ...

    async def get_memories(self, workspace: str, ids: Sequence[str]) -> list[MemoryDetail]:
        """Memories by id."""
        ...

    async def compress(self, prompt: str, *, ratio: float) -> Compression:
        """A prompt in fewer tokens."""
        ...

    async def wait_until_searchable(self, *, timeout_s: float | None = None) -> None:
        """Wait until all is found by meaning."""
        ...


class Opened(Protocol):
    """A bank on an event loop of its own."""

    @property
    def bank(self) -> Bank:
        """The bank."""
        ...

    def call(self, function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a coroutine function there."""
        ...


OpenBank = Callable[[Path, Mapping[str, object]], AbstractContextManager[Opened]]
"""Opens the bank of a directory with groups of settings changed."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured.

    Attributes:
        rounds: of most rows; each measures both ways.
        few: of rows whose rounds are long and alike.
        memories: in the bank of all rows but those of a size of their own: the same at every scale a user can choose,
            so that ratios of two scales can be compared.
        largest: memories of the largest bank that is searched.
        embedded: lessons that are embedded; beyond that, vectors are varied copies of theirs.
    """

    rounds: int
    few: int
    largest: int
    memories: int = 1_000
    embedded: int = 150


SCALES: Final = {
    "quick": Scale(rounds=9, few=2, largest=1_000),
    "default": Scale(rounds=25, few=7, largest=10_000),
    "full": Scale(rounds=51, few=15, largest=100_000),
}


# Chroma takes minutes to build, and up to its limit exact search is what a bank does anyway. Nothing is downloaded.
_SETTINGS: Final = {"vectors": {"search": "exact", "chroma_mode": "off"}, "assets": {"allow_download": False}}


class Workbench:
    """Opens what a claim needs when it is first needed, and closes all at the end of `with`.

    Args:
        open_bank: see `OpenBank`.
        embedder: makes the embedding model that the settings name, not loaded.
        assets: the directory of model weights and tokenizer ranks.
        directory: an empty one, for banks.
        scale: how much to measure.
    """

    def __init__(
        self, *, open_bank: OpenBank, embedder: Callable[[], Embedder], assets: Path, directory: Path, scale: Scale
    ) -> None:
        self.new_embedder = embedder
        self.assets = assets
        self.directory = directory
        self.scale = scale
        self._open_bank = open_bank
        self._opened: dict[tuple[int, bool], Opened] = {}
        self._stack = ExitStack()
        self._asked = 0
        self._model: Embedder | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def bank(self, size: int | None = None, *, cached: bool = True) -> Opened:
        """A bank with so many memories that are all found by meaning; without caches it is the same bank.

        Raises:
            SkippedError: without a model nothing is.
        """
        self.model()  # whose weights may be missing
        size = size or self.scale.memories
        if (size, cached) not in self._opened:
            if not cached:
                self.bank(size)
            groups = _SETTINGS if cached else {**_SETTINGS, "cache": {"enabled": False}}
            opened = self._stack.enter_context(self._open_bank(self.directory / f"bank-{size}", groups))
            if cached:
                self._fill(opened, size)
            else:
                opened.call(opened.bank.wait_until_searchable)
            self._opened[size, cached] = opened
        return self._opened[size, cached]

    def empty_bank(self, name: str, **groups: object) -> Opened:
        """A bank of its own, where embedding costs next to nothing, with groups of settings changed."""
        chosen = {**_SETTINGS, "embeddings": {"backend": "hashing"}, **groups}
        return self._stack.enter_context(self._open_bank(self.directory / name, chosen))

    def model(self) -> Embedder:
        """The embedding model, loaded once; raises SkippedError where it is not installed."""
        if self._model is None:
            model = self.new_embedder()
            try:
                model.load()
            except ModelUnavailableError as error:
                raise SkippedError(str(error)) from error
            self._model = model
        return self._model

    def questions(self, count: int, *, size: int | None = None) -> list[str]:
        """Questions that were never asked before."""
        self._asked += 1
        return questions(size or self.scale.memories, count, seed=self._asked)

    def _fill(self, opened: Opened, size: int) -> None:
        embedded = min(size, self.scale.embedded)
        for start in range(0, embedded, BLOCK):
            rows = [lesson_row(number) for number in range(start, min(start + BLOCK, embedded))]
            opened.call(opened.bank.store_many, WORKSPACE, rows)
        opened.call(opened.bank.wait_until_searchable)
        vary(opened.bank.rooms.database, embedded, size)
