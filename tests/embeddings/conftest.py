"""Embedders that tests hold still, a server that speaks OpenAI's format, a bank with memories."""

import asyncio
import http.server
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest
from sqlalchemy import Connection

from reasoning_bank.assets import Assets
from reasoning_bank.embeddings.embedder import BatchLimits, Embedder, EmbeddingIdentity, Kind, Vectors
from reasoning_bank.embeddings.hashing import HashingEmbedder
from reasoning_bank.embeddings.onnx import OnnxEmbedder
from reasoning_bank.embeddings.sentence_transformers import SentenceTransformersEmbedder
from reasoning_bank.errors import ModelUnavailableError
from reasoning_bank.records import Counters, Memory, MemoryItem, NewTrace, Trace
from reasoning_bank.storage import memories, traces, workspaces
from reasoning_bank.storage.database import Database
from reasoning_bank.text.analyser import analyse
from reasoning_bank.text.fields import content_hash

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class GatedEmbedder:
    """Feature hashing that notes each run, waits at a gate and fails on demand.

    Attributes:
        runs: the texts of each run.
        entered: set when a run begins.
        gate: runs wait here.
        load_gate: loading waits here.
        error: raised by the next runs.
    """

    def __init__(self, *, dim: int = 16, limits: BatchLimits | None = None, name: str = "gated") -> None:
        self._hashing = HashingEmbedder(dim)
        self.identity = EmbeddingIdentity(name, dim, max_tokens=256, pooling="hashing")
        self.limits = limits or BatchLimits(texts=8, tokens=2_048, alone_above_tokens=64)
        self.runs: list[list[str]] = []
        self.threads: set[int] = set()
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.gate.set()
        self.load_gate = threading.Event()
        self.load_gate.set()
        self.error: BaseException | None = None
        self.loads = 0
        self.load_error: ModelUnavailableError | None = None

    def load(self) -> None:
        self.loads += 1
        assert self.load_gate.wait(5)
        if self.load_error is not None:
            raise self.load_error

    def encode(self, texts: Sequence[str], kind: Kind) -> Vectors:
        self.runs.append(list(texts))
        self.threads.add(threading.get_ident())
        self.entered.set()
        assert self.gate.wait(5)
        if self.error is not None:
            raise self.error
        return self._hashing.encode(texts, kind)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]


@pytest.fixture
def gated() -> GatedEmbedder:
    return GatedEmbedder()


@dataclass
class Api:
    """A local embedding server: what it was asked and how it answers.

    Attributes:
        status: HTTP status of its answers.
        spoil: changes an answer before it is sent.
    """

    url: str = ""
    dim: int = 12
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict[str, str])
    spoil: Callable[[dict[str, Any]], object] = lambda answer: None
    requests: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    keys: list[str | None] = field(default_factory=list[str | None])


@pytest.fixture
def api() -> Iterator[Api]:
    state = Api()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(state))
    state.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


def _handler(api: Api) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            api.requests.append(body)
            api.keys.append(self.headers.get("Authorization"))
            rows = HashingEmbedder(body.get("dimensions", api.dim)).encode(body["input"], "document") * 3
            data = [{"index": i, "embedding": row.tolist()} for i, row in enumerate(rows)]
            answer = {"object": "list", "data": data[::-1], "model": body["model"]}
            api.spoil(answer)
            content = json.dumps(answer).encode()
            self.send_response(api.status)
            for name, value in api.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Tests read `api.requests` instead."""

    return Handler


@pytest.fixture
async def database(data_dir: Path) -> AsyncIterator[Database]:
    async with Database(data_dir / "bank.db", durability="process", now=lambda: NOW) as opened:
        yield opened


def memory(name: str, *, workspace: str = "w", text: str | None = None, content: str = "") -> Memory:
    item = MemoryItem(text=text or f"how to repair {name}", content=content)
    return Memory(name, workspace, "t", item, Counters(), NOW, NOW, content_hash(item))


def store(connection: Connection, *new: Memory) -> None:
    for one in new:
        workspaces.ensure(connection, one.workspace, NOW)
        if not traces.existing_ids(connection, one.workspace, [one.trace_id]):
            traces.insert(connection, Trace(one.trace_id, one.workspace, NewTrace("task"), NOW, "hash"))
        memories.insert(connection, [one], [analyse(one.item)])


async def stored(database: Database, *new: Memory) -> None:
    await database.write(lambda connection: store(connection, *new))


@pytest.fixture(scope="session")
def minilm_int8(minilm: Embedder, assets_dir: Path) -> Embedder:
    """The default model in int8; skipped, as `minilm` is, where its weights were never installed."""
    embedder = OnnxEmbedder(assets=Assets(assets_dir, allow_download=False), precision="int8")
    embedder.load()
    return embedder


@pytest.fixture(scope="session")
def sentence_transformer(minilm: Embedder, assets_dir: Path) -> Embedder:
    """The default model through sentence-transformers; skipped where the extra is not installed."""
    pytest.importorskip("sentence_transformers")
    embedder = SentenceTransformersEmbedder(assets=Assets(assets_dir, allow_download=False), device="cpu")
    embedder.load()
    return embedder


async def until(condition: Callable[[], Awaitable[bool] | bool]) -> None:
    """Polls: what is waited for happens in worker threads and in other processes' transactions."""
    with anyio.fail_after(10):
        while True:
            answer = condition()
            if answer if isinstance(answer, bool) else await answer:
                return
            await asyncio.sleep(0.005)
