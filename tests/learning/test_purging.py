"""A purge also reaches what a language model has still to look at."""

from pathlib import Path

from reasoning_bank.learning.purging import Way, call_off, purge_some
from tests.learning.distilling_bank import SPACE, START, distilling_bank, lessons
from tests.learning.runs import DISK
from tests.learning.test_distilling import LESSON, TASK


async def test_no_model_learns_again_from_what_was_purged(tmp_path: Path) -> None:
    async with distilling_bank(tmp_path, lessons(LESSON)) as bank:
        stored = await bank.store(TASK, trajectory=DISK)
        await bank.database.write(lambda c: call_off(c, SPACE, Way(kind="library"), now=START))
        await bank.database.write(lambda c: purge_some(c, SPACE, Way(kind="library"), now=START))
        await bank.look()
        assert await bank.live() == []
        assert bank.provider.requests == []
        assert not (await bank.answer(stored)).queued


async def test_what_came_by_another_way_is_still_looked_at(tmp_path: Path) -> None:
    async with distilling_bank(tmp_path, lessons(LESSON)) as bank:
        await bank.store(TASK, trajectory=DISK)
        await bank.database.write(lambda c: call_off(c, SPACE, Way(kind="mcp"), now=START))
        await bank.look()
        assert [memory.item.title for memory in await bank.live()] == [LESSON["title"]]
