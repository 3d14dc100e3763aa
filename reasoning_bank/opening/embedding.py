"""The embedding model, and the background work that uses it, from the settings."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, cast

from reasoning_bank.assets import MINILM, Assets, ProgressCallback
from reasoning_bank.background.worker import Handler
from reasoning_bank.embeddings.backends import EmbedderChoice, open_embedder, reopen_embedder
from reasoning_bank.embeddings.switch import ModelSwitch, RunningModel
from reasoning_bank.errors import ModelUnavailableError
from reasoning_bank.monitoring.observing import Observe
from reasoning_bank.opening.clockwork import Clockwork
from reasoning_bank.settings import Settings
from reasoning_bank.storage.database import Database
from reasoning_bank.storage.outbox import OutboxRow
from reasoning_bank.vectors.indexer import Indexer

MODEL_WAIT_S: Final = 5.0
"""Longest wait of background work for a model that is loading; then it is put back, for whoever has one."""


def embedder_choice(settings: Settings, clean: Callable[[str], str]) -> EmbedderChoice:
    """What the settings say about embedding; `clean` is what texts pass that leave the machine."""
    chosen = settings.embeddings
    return EmbedderChoice(
        backend=chosen.backend,
        model=chosen.model,
        precision=chosen.precision,
        threads=chosen.threads,
        device=chosen.device,
        base_url=chosen.base_url,
        api_key=chosen.api_key.get_secret_value() if chosen.api_key else None,
        allow_download=settings.assets.allow_download,
        clean=clean,
        trust_env=chosen.trust_env,
    )


def configured_model(settings: Settings, assets: Assets, clean: Callable[[str], str], observe: Observe) -> RunningModel:
    """The configured model, not loaded; entered, it loads in the background, fetching what is missing if it may."""
    chosen = settings.embeddings

    def obtain(progress: ProgressCallback) -> object:
        return assets.install([MINILM], progress=progress)

    may_fetch = chosen.backend == "onnx" and settings.assets.allow_download
    embedder = open_embedder(embedder_choice(settings, clean), assets)
    return RunningModel(embedder, batch_size=chosen.batch_size, obtain=obtain if may_fetch else None, observe=observe)


def model_switch(
    settings: Settings,
    database: Database,
    model: RunningModel,
    assets: Assets,
    clock: Clockwork,
    *,
    owner: str,
    observe: Observe,
) -> ModelSwitch:
    """What serves an older model while the configured one embeds the bank anew."""
    reopen = partial(reopen_embedder, assets=assets, threads=settings.embeddings.threads)
    return ModelSwitch(
        database,
        model,
        reopen=reopen,
        now=clock.now,
        owner=owner,
        poll_s=settings.background.poll_s,
        observe=observe,
    )


def embedding_handler(models: ModelSwitch, indexer: Indexer | None) -> Handler:
    """The outbox handler of {"ids": [memory id, …]}; without a model the rows wait, here or for another process."""

    async def embed(rows: Sequence[OutboxRow]) -> None:
        groups: dict[str, list[str]] = {}
        for row in rows:
            groups.setdefault(row.workspace, []).extend(cast("Mapping[str, list[str]]", row.payload)["ids"])
        for workspace, ids in groups.items():
            if not await models.embed_memories(workspace, ids, timeout_s=MODEL_WAIT_S):
                raise ModelUnavailableError(models.state.load.reason or "the embedding model is not ready")
        if indexer is not None:
            indexer.wake()

    return embed
