"""The short version of `python -m tests.benchmarks privacy`: no door lets a secret reach the disk."""

import random
from pathlib import Path

import pytest

from reasoning_bank.bank import ReasoningBank
from reasoning_bank.errors import InputError
from reasoning_bank.records import NewTrace
from reasoning_bank.settings import Settings
from tests.privacy.planted import DOORS, assigned_doors, leaks, planted, settings_of

SECRET = "g" + "hp_" + "Ab3dEf6hIj9kLm2nOp5qRs8tUv1wXy4zAb3d"
UNREFUSED = {"query", "log", "answer of a model"}
"""Doors that keep nothing of the caller's: a search, a log line, and a model's answer, which is cleaned."""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "script.toml").write_text("", encoding="utf-8")
    return settings_of(tmp_path, vectors={"search": "exact"})


@pytest.mark.timeout(300)
async def test_hardly_a_secret_of_many_by_all_doors_is_found_again(settings: Settings, tmp_path: Path) -> None:
    pairs = assigned_doors(planted(160, random.Random(2)))
    assert {door for door, _ in pairs} == set(DOORS)
    found = await leaks(tmp_path, pairs, settings)
    assert [(leak.door, leak.secret.kind) for leak in found if leak.secret.is_key] == []
    assert len(found) <= 0.02 * len(pairs), [(leak.door, leak.secret.kind) for leak in found]


@pytest.mark.parametrize("door", sorted(DOORS.keys() - UNREFUSED))
async def test_every_door_refuses_a_secret_where_the_workspace_blocks(door: str, settings: Settings) -> None:
    async with ReasoningBank(settings) as bank:
        await bank.upkeep.set_privacy("w", "block")
        with pytest.raises(InputError, match="github-token") as error:
            await DOORS[door][0](bank, "n1x", SECRET)
        assert SECRET not in str(error.value)


async def test_no_workspace_is_named_by_a_secret(settings: Settings) -> None:
    async with ReasoningBank(settings) as bank:
        with pytest.raises(InputError, match="workspace holds what looks like a secret"):
            await bank.store_trace(SECRET, NewTrace("a task"))
