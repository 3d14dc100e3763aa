"""A bank of any size for the benchmarks: up to 10,000 lessons are embedded, beyond that stored vectors are varied."""

import shutil
from pathlib import Path

from reasoning_bank import ReasoningBank, load_settings
from reasoning_bank.evaluation.bench.filling import BLOCK, WORKSPACE, lesson_row, vary

EMBEDDED = 10_000


async def fill(root: Path, size: int) -> Path:
    """Make a bank below `root` with `size` lessons whose vectors are all there, or find it made; its directory."""
    directory = root / f"bank-{size}"
    done = directory / "filled"
    if done.exists():
        return directory
    shutil.rmtree(directory, ignore_errors=True)
    if size > EMBEDDED:
        shutil.copytree(await fill(root, EMBEDDED), directory)
        done.unlink()
    async with ReasoningBank(load_settings(data_dir=directory, vectors={"chroma_mode": "off"})) as bank:
        if size > EMBEDDED:
            vary(bank.rooms.database, EMBEDDED, size)
        else:
            await _embed(bank, size)
    done.touch()
    return directory


async def _embed(bank: ReasoningBank, size: int) -> None:
    for start in range(0, size, BLOCK):
        numbers = range(start, min(start + BLOCK, size))
        await bank.store_many(WORKSPACE, [lesson_row(number) for number in numbers])
    await bank.wait_until_searchable(timeout_s=3600)
