"""What tests of caches share: one Redis for all of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cache.own_redis import OwnRedis, own_redis


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnRedis]:
    """A Redis that nobody hurts; stores in it are told apart by their prefix."""
    with own_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[OwnRedis]:
    """A Redis of this test alone."""
    with own_redis(tmp_path) as server:
        yield server
