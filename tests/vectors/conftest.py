"""A real Chroma server, and every index in the same order of business."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import anyio
import numpy as np
import pytest
from sqlalchemy import Connection

from reasoning_bank.records import Counters, Memory, MemoryItem, NewTrace, Trace
from reasoning_bank.storage import embeddings, memories, traces, workspaces
from reasoning_bank.storage.database import Database
from reasoning_bank.storage.embeddings import EmbeddingRow
from reasoning_bank.text.analyser import analyse
from reasoning_bank.vectors.chroma import ChromaDBAdapter
from reasoning_bank.vectors.connection import Cloud, Server
from reasoning_bank.vectors.exact import ExactIndex
from reasoning_bank.vectors.generation import Build
from reasoning_bank.vectors.index import Vector, VectorIndex

DIM = 16
MODEL = "test-model"
WAIT_S = 60.0


def unit(seed: int, count: int, dim: int = DIM) -> Vector:
    """Return seeded unit rows, (count, dim)."""
    rows = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def named(vectors: Vector) -> list[tuple[str, Vector]]:
    """Return the vectors with ids "m0", "m1", ..."""
    return [(f"m{place}", vector) for place, vector in enumerate(vectors)]


def free_port() -> int:
    """Return a loopback port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ChromaServer:
    """A `chroma run` of its own, that can be stopped and started again on the same data."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def at(self) -> Server:
        return Server(port=self.port)

    def start(self) -> None:
        command = [str(Path(sys.executable).with_name("chroma")), "run", "--path", str(self.directory)]
        # It writes megabytes to its output: a pipe nobody reads would stop it.
        with (self.directory.parent / "chroma.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--host", "127.0.0.1", "--port", str(self.port)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    async def ready(self) -> None:
        with anyio.fail_after(WAIT_S):
            while True:
                try:
                    stream = await anyio.connect_tcp("127.0.0.1", self.port)
                except OSError:
                    await anyio.sleep(0.05)
                else:
                    await stream.aclose()
                    return

    @contextmanager
    def frozen(self) -> Generator[None]:
        """Keeps the server from answering, with its connections open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        # All its threads have stopped when the kernel says so, not when the signal was sent.
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WNOWAIT)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(WAIT_S)
            self._process = None


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChromaServer]:
    """One server for all tests that do not stop it."""
    server = ChromaServer(tmp_path_factory.mktemp("chroma") / "data")
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def chroma_server(shared_server: ChromaServer) -> ChromaServer:
    """The shared server, once it listens."""
    await shared_server.ready()
    return shared_server


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[ChromaServer]:
    """A server that the test may stop, start and rob of its data."""
    server = ChromaServer(tmp_path / "served")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def bank_name(request: pytest.FixtureRequest) -> str:
    """Keeps tests apart that share a server."""
    return request.node.nodeid


@pytest.fixture(params=["exact", "embedded", "http", "cloud"])
async def index(request: pytest.FixtureRequest, tmp_path: Path, bank_name: str) -> AsyncIterator[VectorIndex]:
    """Every implementation of `VectorIndex`, open and empty."""
    if request.param == "exact":
        yield ExactIndex(model_id=MODEL, dim=DIM)
        return
    at: Server | Cloud | None = None
    if request.param != "embedded":
        server: ChromaServer = request.getfixturevalue("shared_server")
        await server.ready()
        at = server.at
        if request.param == "cloud":
            at = Cloud("a-key", "default_tenant", "default_database", server.at.host, server.port, ssl=False)
    adapter = ChromaDBAdapter(tmp_path / "vectors", at=at, batch_size=50, timeout_s=WAIT_S)
    assert await adapter.claim()
    await adapter.serve(await adapter.begin(Build(1, MODEL, bank_name)))
    adapter.vouch()
    yield adapter
    await adapter.close()


class Bank:
    """A real bank on disk, with vectors made up instead of embedded."""

    def __init__(self, path: Path, now: Callable[[], datetime]) -> None:
        self.now = now
        self.database = Database(path, durability="process", now=now)

    async def store(self, ids: Sequence[str], vectors: Vector | None, *, workspace: str = "w") -> None:
        """Keep memories, and their vectors unless they are to be embedded later."""

        def work(connection: Connection) -> None:
            workspaces.ensure(connection, workspace, self.now())
            trace = f"trace of {ids[0]}"
            traces.insert(connection, Trace(trace, workspace, NewTrace("task"), self.now(), trace))
            new = [self._memory(workspace, each, trace) for each in ids]
            memories.insert(connection, new, [analyse(memory.item) for memory in new])

        await self.database.write(work)
        if vectors is not None:
            await self.embed(ids, vectors, workspace=workspace)

    async def embed(
        self, ids: Sequence[str], vectors: Vector, *, workspace: str = "w", model: str = MODEL, active: bool = True
    ) -> None:
        """Keep vectors of memories that are there."""

        def work(connection: Connection) -> None:
            embeddings.register_model(connection, model, {}, self.now())
            if active:
                embeddings.activate(connection, model)
            embeddings.put(connection, [_row(workspace, *each, model) for each in zip(ids, vectors, strict=True)])

        await self.database.write(work)

    async def forget(self, ids: Sequence[str], *, workspace: str = "w") -> None:
        """Delete memories, softly."""
        await self.database.write(lambda connection: memories.soft_delete(connection, workspace, ids, self.now()))

    def _memory(self, workspace: str, memory_id: str, trace: str) -> Memory:
        item, now = MemoryItem(memory_id), self.now()
        return Memory(memory_id, workspace, trace, item, Counters(), now, now, memory_id)


def _row(workspace: str, memory_id: str, vector: Vector, model: str) -> EmbeddingRow:
    return EmbeddingRow(
        memory_id=memory_id,
        workspace=workspace,
        field="text",
        chunk=0,
        model_id=model,
        dim=len(vector),
        precision="fp32",
        content_hash=memory_id,
        weight=1.0,
        vector=vector.astype("<f4").tobytes(),
    )


@pytest.fixture
async def bank(data_dir: Path, now: Callable[[], datetime]) -> AsyncIterator[Bank]:
    """An open, empty bank."""
    bank = Bank(data_dir / "bank.db", now)
    async with bank.database:
        yield bank
