import asyncio

import pytest

from reasoning_bank.assets import Progress, ProgressCallback
from reasoning_bank.embeddings.loading import ModelLoader
from reasoning_bank.errors import AssetError, ModelUnavailableError

from .conftest import GatedEmbedder

MISSING = ModelUnavailableError("the weights are missing: run `reasoning-bank assets install`")


async def test_model_loads_in_the_background(gated: GatedEmbedder) -> None:
    gated.load_gate.clear()
    async with ModelLoader(gated) as loader:
        assert loader.state.status == "loading"
        with pytest.raises(ModelUnavailableError, match="is loading"):
            await loader.wait_ready(0.01)
        gated.load_gate.set()
        await loader.wait_ready(5)
        assert loader.state.status == "ready"


async def test_missing_model_is_told_at_once_with_the_advice(gated: GatedEmbedder) -> None:
    gated.load_error = MISSING
    async with ModelLoader(gated) as loader:
        for _ in range(2):
            with pytest.raises(ModelUnavailableError, match="assets install"):
                await loader.wait_ready(None)
        assert loader.state.status == "unavailable"
        assert gated.loads == 1, "asking again soon does not try again"


async def test_model_that_arrives_later_is_loaded_by_a_later_wait(gated: GatedEmbedder) -> None:
    gated.load_error = MISSING
    seconds = 0.0
    async with ModelLoader(gated, retry_s=30, timer=lambda: seconds) as loader:
        with pytest.raises(ModelUnavailableError):
            await loader.wait_ready(5)
        gated.load_error = None
        seconds = 31.0
        await loader.wait_ready(5)
        assert loader.state.status == "ready"


async def test_missing_files_are_fetched_once_and_progress_is_shown(gated: GatedEmbedder) -> None:
    gated.load_error = MISSING
    reasons: list[str] = []

    def obtain(progress: ProgressCallback) -> None:
        progress(Progress("tiny", "hub", 50, 200))
        reasons.append(loader.state.reason)
        gated.load_error = None

    async with ModelLoader(gated, obtain=obtain) as loader:
        await loader.wait_ready(5)
    assert reasons == ["fetching tiny (hub): 25 %"]


async def test_failed_fetching_is_the_reason_given(gated: GatedEmbedder) -> None:
    gated.load_error = MISSING
    fetched = 0

    def obtain(progress: ProgressCallback) -> None:
        nonlocal fetched
        fetched += 1
        raise AssetError("'tiny' could not be obtained from any source")

    async with ModelLoader(gated, obtain=obtain, retry_s=0) as loader:
        with pytest.raises(ModelUnavailableError, match="could not be obtained"):
            await loader.wait_ready(5)
        with pytest.raises(ModelUnavailableError, match="assets install"):
            await loader.wait_ready(5)
    assert fetched == 1, "the network is asked once, the disk again"


async def test_leaving_stops_a_download(gated: GatedEmbedder) -> None:
    gated.load_error = MISSING
    began, ended = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def obtain(progress: ProgressCallback) -> None:
        loop.call_soon_threadsafe(began.set)
        try:
            while True:
                progress(Progress("tiny", "hub", 0, 1))
        finally:
            loop.call_soon_threadsafe(ended.set)

    async with ModelLoader(gated, obtain=obtain):
        await asyncio.wait_for(began.wait(), 5)
    await asyncio.wait_for(ended.wait(), 5)


async def test_reload_tries_at_once_but_only_after_a_failure(gated: GatedEmbedder) -> None:
    gated.load_error = MISSING
    async with ModelLoader(gated) as loader:
        with pytest.raises(ModelUnavailableError):
            await loader.wait_ready(5)
        gated.load_error = None
        loader.reload()
        await loader.wait_ready(5)
        loader.reload()
        assert loader.state.status == "ready"
        assert gated.loads == 2
