"""A bank that is put back from a backup: nothing is answered from what its caches in files kept of the time after."""

import asyncio
import shutil
from pathlib import Path

from reasoning_bank.bank import ReasoningBank
from reasoning_bank.records import MemoryItem, NewTrace, Query
from reasoning_bank.settings import Settings
from reasoning_bank.storage import backup

ADVICE = {
    "alpha": "Hold the button for five seconds until its lamp is green.",
    "zebra": "Take out both batteries, wait a minute, and put them back in.",
    "kitten": "Ask the vendor for new firmware: no older one forgets a wrong password.",
}
QUERY = Query("reset the widget frobnicator", k=5, min_score=0)


def settings(directory: Path) -> Settings:
    return Settings.model_validate(
        {
            "data_dir": directory,
            "embeddings": {"backend": "hashing", "query_wait_ms": 60_000},
            "retrieval": {"deadline_ms": 60_000},
            "compression": {"tokenizer": "estimated"},
            "vectors": {"chroma_mode": "off"},
            "cache": {"retrieval": {"backend": "file"}, "profiles": {"backend": "file"}},
        }
    )


async def store(bank: ReasoningBank, tag: str) -> None:
    item = MemoryItem(text="", title=f"Reset it by {tag}", description="frobnicator", content=ADVICE[tag], tags=(tag,))
    await bank.store_trace("w", NewTrace(task="How to reset the widget", outcome="success"), memories=[item])
    await bank.wait_until_searchable(timeout_s=60)


async def seen(bank: ReasoningBank) -> tuple[list[str], set[str], int]:
    """What searches find, and the tags and the number of traces that the profile has; asked twice, to be kept."""
    await bank.retrieve("w", QUERY)
    await bank.profile("w")
    found, about = await bank.retrieve("w", QUERY), await bank.profile("w")
    return sorted(each.memory.item.title for each in found.memories), set(about.tags), about.counts.traces


def put_back(backup_: Path, path: Path) -> None:
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()
    shutil.copy(backup_, path)


async def test_what_was_kept_after_the_backup_is_never_found_again(tmp_path: Path) -> None:
    chosen = await asyncio.to_thread(settings, tmp_path / "bank")
    async with ReasoningBank(chosen) as bank:
        await store(bank, "alpha")
        path = bank.rooms.database.path
    await asyncio.to_thread(backup.create, path, tmp_path / "bank.bak")
    async with ReasoningBank(chosen) as bank:
        await store(bank, "zebra")
        assert await seen(bank) == (["Reset it by alpha", "Reset it by zebra"], {"alpha", "zebra"}, 2)
    await asyncio.to_thread(put_back, tmp_path / "bank.bak", path)
    async with ReasoningBank(chosen) as bank:
        assert await seen(bank) == (["Reset it by alpha"], {"alpha"}, 1)
        await store(bank, "kitten")  # as many changes as there were after the backup
        assert await seen(bank) == (["Reset it by alpha", "Reset it by kitten"], {"alpha", "kitten"}, 2)
