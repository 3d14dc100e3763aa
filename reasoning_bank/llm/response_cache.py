"""Answers of language models, kept for the same question asked again."""

import hashlib
import json
from dataclasses import asdict
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from reasoning_bank.cache.named import Cache
from reasoning_bank.llm.exchange import ModelRequest
from reasoning_bank.llm.routing import Target
from reasoning_bank.records import JsonValue

T = TypeVar("T", bound=BaseModel)


class ResponseCache:
    """Valid answers by everything that decides them: provider, model, whole prompt, parameters, schema.

    Only questions at temperature 0 are kept: at any other the same question is meant to be answered differently.
    What is kept is what was valid and clean: no error, no refusal, no cut answer, no secret.

    Args:
        cache: where they are kept, as JSON.
    """

    def __init__(self, cache: Cache[Any]) -> None:
        self._cache = cache

    async def get(self, workspace: str, key: str, answer: type[T]) -> T | None:
        """Return the answer kept under a key, or None where there is none, or none that is valid today."""
        kept = await self._cache.get(key, namespace=workspace)
        try:
            return None if kept is None else answer.model_validate(kept)
        except ValidationError:
            return None

    async def put(self, workspace: str, key: str, value: BaseModel) -> None:
        """Keep an answer."""
        await self._cache.set(key, value.model_dump(mode="json", by_alias=True), namespace=workspace)

    async def clear(self, workspace: str | None = None) -> None:
        """Drop the answers given to one workspace, or all."""
        await self._cache.clear(workspace)

    async def statistics(self) -> dict[str, JsonValue]:
        """Return sizes, bounds and counters."""
        return await self._cache.statistics()


def cache_key(target: Target, request: ModelRequest) -> str | None:
    """Return what an answer of that model to that request is kept under, or None where it may not be kept."""
    if request.temperature != 0:
        return None
    parts = {"provider": target.provider, "model": target.model, **asdict(request)}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
