"""The leak check names what leaks, and nothing of what only fills up."""

from collections import deque
from functools import lru_cache
from pathlib import Path

import pytest

from reasoning_bank.monitoring.leaks import growing


async def test_a_line_that_keeps_something_of_each_call_is_named() -> None:
    leaked: list[bytearray] = []

    async def work(_number: int) -> None:
        leaked.append(bytearray(500))

    (growth,) = await growing(work, calls=20)
    assert Path(growth.place.rpartition(":")[0]).name == Path(__file__).name
    assert growth.blocks_per_call >= 1
    assert 500 <= growth.bytes_per_call < 700


async def test_what_is_kept_up_to_a_bound_is_no_leak() -> None:
    last: deque[bytearray] = deque(maxlen=10)
    once: dict[int, bytearray] = {}

    @lru_cache(maxsize=10_000)
    def known(number: int) -> bytearray:
        return bytearray(number + 300)

    async def work(number: int) -> None:
        last.append(bytearray(500))
        once[number % 20] = bytearray(500)
        known(number)

    assert await growing(work, calls=20) == []


async def test_files_whose_growth_ends_later_can_be_left_out() -> None:
    leaked: list[bytearray] = []

    async def work(_number: int) -> None:
        leaked.append(bytearray(500))

    assert await growing(work, calls=20, bounded=("monitoring/test_leaks.py",)) == []


async def test_two_looks_are_too_few() -> None:
    async def work(_number: int) -> None: ...

    with pytest.raises(ValueError, match="use 3 or more"):
        await growing(work, marks=2)
