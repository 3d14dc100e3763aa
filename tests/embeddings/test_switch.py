import asyncio
from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import numpy as np
import pytest

from reasoning_bank.assets import Assets
from reasoning_bank.embeddings.backends import EmbedderChoice, open_embedder, reopen_embedder
from reasoning_bank.embeddings.embedder import Embedder, EmbeddingIdentity
from reasoning_bank.embeddings.hashing import HashingEmbedder
from reasoning_bank.embeddings.onnx import OnnxEmbedder, minilm_identity
from reasoning_bank.embeddings.openai import OpenAIEmbedder
from reasoning_bank.embeddings.sentence_transformers import SentenceTransformersEmbedder
from reasoning_bank.embeddings.switch import ModelSwitch, RunningModel
from reasoning_bank.errors import ConfigError, ModelUnavailableError, UpstreamError
from reasoning_bank.storage import embeddings
from reasoning_bank.storage.database import Database

from .conftest import NOW, GatedEmbedder, memory, stored, until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

OLD, NEW = "old", "new"


def known(identity: EmbeddingIdentity) -> Embedder | None:
    """Opens any model of these tests for the vectors a bank has."""
    return GatedEmbedder(name=identity.name)


def unknown(identity: EmbeddingIdentity) -> Embedder | None:
    return None


@asynccontextmanager
async def switching(
    database: Database,
    embedder: Embedder,
    *,
    reopen: Callable[[EmbeddingIdentity], Embedder | None] = known,
    owner: str = "me",
) -> "AsyncGenerator[ModelSwitch]":
    async with (
        RunningModel(embedder) as model,
        ModelSwitch(database, model, reopen=reopen, now=lambda: NOW, owner=owner, poll_s=0.01) as switch,
    ):
        yield switch


async def answers_with(database: Database, embedder: GatedEmbedder) -> bool:
    return await database.read(embeddings.active_model) == embedder.identity.model_id


async def fill(database: Database, embedder: GatedEmbedder, count: int = 3) -> None:
    """A bank whose memories have vectors of a model."""
    await stored(database, *(memory(f"m{n:03}") for n in range(count)))
    async with switching(database, embedder) as switch:
        await until(lambda: not switch._wants_configured)
    assert await answers_with(database, embedder)


async def test_new_bank_takes_the_configured_model(database: Database) -> None:
    model = GatedEmbedder(name=NEW)
    async with switching(database, model) as switch:
        assert switch.serving is not None, "before it is loaded, so that a search knows what to wait for"
        await until(lambda: answers_with(database, model))
        await stored(database, memory("a"))
        assert await switch.embed_memories("w", ["a"])
        assert switch.state.active == switch.state.configured == model.identity.model_id


async def test_old_vectors_answer_until_the_new_ones_are_complete(database: Database) -> None:
    old, new = GatedEmbedder(name=OLD), GatedEmbedder(name=NEW)
    await fill(database, old, count=100)
    new.gate.clear()
    async with switching(database, new) as switch:
        await until(new.entered.is_set)
        serving = switch.serving
        assert serving is not None
        assert serving.identity == old.identity
        assert await serving.wait_ready(5)
        assert (await serving.embed_queries(["query"])).shape == (1, 16)
        assert await answers_with(database, old)
        new.gate.set()
        await until(lambda: answers_with(database, new))
        await until(lambda: switch.serving is not None and switch.serving.identity == new.identity)
        coverage = await database.read(lambda c: embeddings.coverage(c, new.identity.model_id))
        assert (coverage.live, coverage.embedded) == (100, 100)


async def test_a_move_that_ended_by_a_bug_is_told(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    model = GatedEmbedder(name=NEW)
    model.error = RuntimeError("out of memory")
    await stored(database, memory("a"))
    async with switching(database, model) as switch:
        await until(lambda: switch.error is not None)
        assert isinstance(switch.error, ExceptionGroup)
    assert "embedding what is missing has ended" in caplog.text


async def test_memory_stored_during_the_move_gets_vectors_of_both_models(database: Database) -> None:
    old, new = GatedEmbedder(name=OLD), GatedEmbedder(name=NEW)
    await fill(database, old)
    new.gate.clear()
    async with switching(database, new) as switch:
        await until(new.entered.is_set)
        await stored(database, memory("late"))
        embedding = asyncio.create_task(switch.embed_memories("w", ["late"]))
        await until(lambda: _has(database, old, "late"))
        new.gate.set()
        assert await embedding
        await until(lambda: answers_with(database, new))
        assert await _has(database, new, "late")


async def _has(database: Database, embedder: GatedEmbedder, id_: str) -> bool:
    model_id = embedder.identity.model_id
    return bool(await database.read(lambda c: list(embeddings.load(c, "w", model_id, [id_]))))


async def test_move_goes_on_without_an_old_model_that_nobody_can_open(database: Database) -> None:
    old, new = GatedEmbedder(name=OLD), GatedEmbedder(name=NEW)
    await fill(database, old)
    new.load_gate.clear()
    async with switching(database, new, reopen=unknown) as switch:
        assert switch.serving is None
        new.load_gate.set()
        await until(lambda: answers_with(database, new))
        await until(lambda: switch.serving is not None)


async def test_old_model_serves_on_when_the_configured_one_cannot_be_loaded(database: Database) -> None:
    old, new = GatedEmbedder(name=OLD), GatedEmbedder(name=NEW)
    await fill(database, old)
    new.load_error = ModelUnavailableError("no weights: run `reasoning-bank assets install`")
    async with switching(database, new) as switch:
        assert switch.serving is not None
        assert await switch.serving.wait_ready(5)
        await until(lambda: switch.state.load.status == "unavailable")
        assert "assets install" in switch.state.load.reason
        await stored(database, memory("late"))
        assert not await switch.embed_memories("w", ["late"])
        assert await _has(database, old, "late"), "found by meaning with the model that works"


async def test_vectors_missed_while_there_was_no_model_are_made_when_it_comes(database: Database) -> None:
    model = GatedEmbedder(name=NEW)
    model.load_error = ModelUnavailableError("no weights")
    async with switching(database, model) as switch:
        await stored(database, memory("a"))
        assert not await switch.embed_memories("w", ["a"], timeout_s=5)
        model.load_error = None
        assert switch.serving is not None
        switch.serving.loader.reload()
        await until(lambda: _has(database, model, "a"))


async def test_interrupted_move_is_taken_up_again(database: Database) -> None:
    old, new = GatedEmbedder(name=OLD), GatedEmbedder(name=NEW)
    await fill(database, old)
    new.error = UpstreamError("the server is down")
    async with switching(database, new):
        await until(lambda: len(new.runs) > 2)
        assert await answers_with(database, old)
        new.error = None
        await until(lambda: answers_with(database, new))


async def test_switch_of_another_process_is_followed_and_not_undone(database: Database) -> None:
    old, new = GatedEmbedder(name=OLD), GatedEmbedder(name=NEW)
    await fill(database, old)
    async with switching(database, old, owner="first") as first:
        await until(lambda: not first._wants_configured)
        async with switching(database, new, owner="second"):
            await until(lambda: answers_with(database, new))
            await until(lambda: first.serving is not None and first.serving.identity == new.identity)
            await stored(database, memory("late"))
            assert await first.embed_memories("w", ["late"])
            assert await _has(database, new, "late")
        await asyncio.sleep(0.05)
        assert await answers_with(database, new)


async def test_identity_that_loading_tells_is_waited_for(database: Database) -> None:
    class Late(GatedEmbedder):
        """Like a sentence-transformers model: only its loading tells what it is."""

        @property
        def identity(self) -> EmbeddingIdentity:
            if not self.loads:
                raise ModelUnavailableError("not loaded yet")
            return self._identity

        @identity.setter
        def identity(self, value: EmbeddingIdentity) -> None:
            self._identity = value

    model = Late(name=NEW)
    model.load_gate.clear()
    async with switching(database, model) as switch:
        assert switch.state.configured is None or switch.serving is not None
        model.load_gate.set()
        await until(lambda: bool(model.loads))  # only then does it have an identity to ask for
        await until(lambda: answers_with(database, model))
        assert switch.serving is not None


async def test_real_bank_moves_from_hashing_to_the_model(database: Database, minilm: Embedder) -> None:
    await stored(database, memory("a", text="repair a broken database"), memory("b", text="bake an apple pie"))
    async with switching(database, HashingEmbedder(), reopen=unknown):
        await until(lambda: _active(database, "hashing"))
    async with switching(database, minilm, reopen=unknown) as switch:
        await until(lambda: _active(database, "all-MiniLM-L6-v2"))
        await until(lambda: switch.serving is not None)
        assert switch.serving is not None
        query = (await switch.serving.embed_queries(["the SQL server is corrupt"]))[0]
        model_id = minilm.identity.model_id
        rows = await database.read(lambda c: list(embeddings.load(c, "w", model_id)))
    scores = {row.id: float(np.frombuffer(row.vector, "<f4") @ query) for row in rows}
    assert scores["a"] > scores["b"] + 0.2


async def _active(database: Database, name: str) -> bool:
    return (await database.read(embeddings.active_model) or "").startswith(name)


def test_configuration_chooses_the_backend(tmp_path: "Path") -> None:
    assets = Assets(tmp_path)
    assert isinstance(open_embedder(EmbedderChoice(), assets), OnnxEmbedder)
    assert isinstance(open_embedder(EmbedderChoice(backend="hashing"), assets), HashingEmbedder)
    assert isinstance(open_embedder(EmbedderChoice(backend="openai", model="m", api_key="k"), assets), OpenAIEmbedder)
    chosen = open_embedder(EmbedderChoice(backend="sentence_transformers", model="any/model"), assets)
    assert isinstance(chosen, SentenceTransformersEmbedder)
    with pytest.raises(ConfigError, match="has only sentence-transformers/all-MiniLM-L6-v2, not 'any/model'"):
        open_embedder(EmbedderChoice(model="any/model"), assets)
    assert "secret" not in repr(EmbedderChoice(api_key="secret"))


@pytest.mark.parametrize("identity", [minilm_identity("fp32"), minilm_identity("int8"), HashingEmbedder(64).identity])
def test_vectors_of_our_own_models_can_always_be_compared_with(identity: EmbeddingIdentity, tmp_path: "Path") -> None:
    reopened = reopen_embedder(identity, assets=Assets(tmp_path))
    assert reopened is not None
    assert reopened.identity == identity


def test_vectors_of_a_model_from_elsewhere_cannot(tmp_path: "Path") -> None:
    assert reopen_embedder(EmbeddingIdentity("x", 3, max_tokens=1, pooling="mean"), assets=Assets(tmp_path)) is None
