"""All that came by one way is forgotten, softly, and takes nothing of others along."""

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from reasoning_bank.bank import ReasoningBank
from reasoning_bank.cli.curating import purge_command
from reasoning_bank.learning.merging import merge
from reasoning_bank.records import MemoryItem, NewTrace, Source
from reasoning_bank.settings import Settings, load_settings

GOOD = MemoryItem(text="", title="Lock timeout", content="Set `lock_timeout` to 2s before you alter a busy table.")
SAME = MemoryItem(text="", title="Lock timeout", content="Before you alter a busy table set `lock_timeout` to 2s.")
OTHER = MemoryItem(text="", title="Statement timeout", content="Raise `statement_timeout` when you build an index.")
ENEMY, FRIEND = Source("mcp", "cursor/1.2", "3f9a1c0b2d4e"), Source("mcp", "cursor-fork/2.0", "aaaaaaaaaaaa")


@pytest.fixture
def settings(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("REASONING_BANK_LEARNING__CONSOLIDATE", "false")
    monkeypatch.setenv("REASONING_BANK_EMBEDDINGS__BACKEND", "hashing")
    return load_settings(data_dir=data_dir, durability="process")


async def _stored(bank: ReasoningBank, workspace: str, item: MemoryItem, source: Source) -> str:
    stored = await bank.store_trace(
        workspace, NewTrace(f"By {source.token}", "success"), memories=[item], source=source
    )
    (memory,) = stored.memories
    return memory.id or ""


@pytest.fixture
def ids(settings: Settings) -> dict[str, str]:
    """What an enemy stored, one of it having taken in what a friend stored before; the same in another workspace."""

    async def fill() -> dict[str, str]:
        async with ReasoningBank(settings) as bank:
            enemy = await _stored(bank, "w", SAME, ENEMY)
            friend = await _stored(bank, "w", GOOD, FRIEND)
            write = bank.rooms.database.write
            now = (await bank.get_memories("w", [enemy]))[0].memory.created_at
            took_in = await write(lambda c: merge(c, "w", [enemy, friend], reason="the same", now=now))
            assert took_in == enemy
            return {
                "took in": enemy,
                "friend": friend,
                "second": await _stored(bank, "w", OTHER, ENEMY),
                "elsewhere": await _stored(bank, "v", OTHER, ENEMY),
            }

    return asyncio.run(fill())


def _run(data_dir: Path, *arguments: str, code: int = 0) -> str:
    called = CliRunner().invoke(purge_command, [*arguments, "-w", "w", "--data-dir", str(data_dir)])
    assert called.exit_code == code, called.output
    return called.stdout


async def _live(settings: Settings, workspace: str, ids: dict[str, str]) -> set[str]:
    async with ReasoningBank(settings) as bank:
        wanted = [id_ for name, id_ in ids.items() if (name == "elsewhere") == (workspace == "v")]
        found = [detail.memory for detail in await bank.get_memories(workspace, wanted)]
    return {each.id for each in found if each.deleted_at is None and each.superseded_by is None}


@pytest.mark.parametrize("way", [("--token", "3f9a1c0b2d4e"), ("--client", "cursor"), ("--client", "cursor/1.2")])
def test_what_came_by_one_way_goes_and_what_it_took_in_of_others_holds_again(
    ids: dict[str, str], settings: Settings, data_dir: Path, way: tuple[str, str]
) -> None:
    listed = json.loads(_run(data_dir, *way, "--dry-run", "--json"))
    assert [each["id"] for each in listed] == [ids["took in"], ids["second"]]
    assert (listed[0]["kind"], listed[0]["client"], listed[0]["token"]) == ("mcp", "cursor/1.2", "3f9a1c0b2d4e")
    assert asyncio.run(_live(settings, "w", ids)) == {ids["took in"], ids["second"]}, "nothing was done yet"
    assert "2 memories forgotten" in _run(data_dir, *way)
    assert asyncio.run(_live(settings, "w", ids)) == {ids["friend"]}
    assert asyncio.run(_live(settings, "v", ids)) == {ids["elsewhere"]}, "another workspace is left alone"
    assert _run(data_dir, *way) == "0 memories forgotten\n"


def test_a_purge_can_be_undone(ids: dict[str, str], settings: Settings, data_dir: Path) -> None:
    _run(data_dir, "--token", "3f9a1c0b2d4e")
    assert _run(data_dir, "--undo-since", "2020-01-01") == "2 memories brought back\n"
    assert asyncio.run(_live(settings, "w", ids)) == {ids["took in"], ids["friend"], ids["second"]}


def test_only_what_fits_every_option_goes(ids: dict[str, str], settings: Settings, data_dir: Path) -> None:
    assert _run(data_dir, "--token", "3f9a1c0b2d4e", "--kind", "import") == "0 memories forgotten\n"
    assert asyncio.run(_live(settings, "w", ids)) == {ids["took in"], ids["second"]}


@pytest.mark.usefixtures("ids")
def test_a_purge_of_nothing_in_particular_is_refused(data_dir: Path) -> None:
    called = CliRunner().invoke(purge_command, ["-w", "w", "--data-dir", str(data_dir)])
    assert "say what to purge" in str(called.exception)
