"""A workspace that outgrows its size forgets what never was of use: told beforehand, bit by bit, undone at will."""

from datetime import timedelta

from reasoning_bank.learning.pruning import prunable, prune_some, undo_pruning, worth_of
from reasoning_bank.learning.rating import rate
from reasoning_bank.storage import history, memories
from tests.learning.lessons import START, Lessons

LATER = START + timedelta(days=90)


async def filled(lessons: Lessons, count: int) -> list[str]:
    return [await lessons.add(f"Advice number {number} about matter {number * 7}") for number in range(count)]


async def test_nothing_goes_while_there_is_room(lessons: Lessons) -> None:
    await filled(lessons, 4)
    assert await lessons.read(lambda c: prunable(c, "w", limit=4, now=LATER)) == []


async def test_what_would_go_is_listed_with_the_reason_and_nothing_goes(lessons: Lessons) -> None:
    ids = await filled(lessons, 4)
    await lessons.write(lambda c: memories.add_used(c, "w", ids[:3], 5))
    (listed,) = await lessons.read(lambda c: prunable(c, "w", limit=3, now=LATER))
    assert (listed.id, listed.title, listed.why) == (
        ids[3],
        "The nightly build",
        "never found in 90 days, trust normal",
    )
    assert await lessons.live() == ids


async def test_as_much_goes_as_is_too_much_the_least_worth_first(lessons: Lessons) -> None:
    ids = await filled(lessons, 5)
    await lessons.write(lambda c: memories.add_used(c, "w", ids[2:4], 5))
    await lessons.write(lambda c: rate(c, "w", [ids[0]], "helped", now=lessons.now))
    await lessons.write(lambda c: rate(c, "w", [ids[1]], "misled", now=lessons.now))
    gone = await lessons.write(lambda c: prune_some(c, "w", limit=3, now=LATER))
    assert sorted(gone) == [ids[1], ids[4]]
    assert await lessons.write(lambda c: prune_some(c, "w", limit=3, now=LATER)) == []
    (entry,) = await lessons.read(lambda c: history.of_memory(c, "w", ids[1]))
    assert (entry.event, entry.reason) == ("pruned", "never found in 90 days, misled 1 times, trust normal")


async def test_what_helped_is_trusted_young_imported_or_stands_for_others_stays(lessons: Lessons) -> None:
    helped = await lessons.add("Advice that helped")
    await lessons.write(lambda c: rate(c, "w", [helped], "helped", now=lessons.now))
    await lessons.add("Advice that is trusted", trust="trusted")
    await lessons.add("Advice that was imported", origin="import")
    await lessons.add("Advice that stands for others", parents=("m0",))
    assert await lessons.write(lambda c: prune_some(c, "w", limit=1, now=LATER)) == []
    await lessons.add("Advice that is young")
    assert await lessons.write(lambda c: prune_some(c, "w", limit=1, now=lessons.now)) == []


async def test_pruning_is_undone(lessons: Lessons) -> None:
    ids = await filled(lessons, 3)
    await lessons.write(lambda c: memories.soft_delete(c, "w", ids[:1], START))
    await lessons.write(lambda c: prune_some(c, "w", limit=1, now=LATER))
    assert len(await lessons.live()) == 1
    back = await lessons.write(lambda c: undo_pruning(c, "w", since=LATER, now=LATER))
    assert len(back) == 1
    assert await lessons.live() == ids[1:], "what a person forgot stays forgotten"


async def test_the_worker_prunes_after_consolidating(lessons: Lessons) -> None:
    ids = await filled(lessons, 3)
    lessons.now = LATER
    await lessons.consolidator(prune_above=2).prune("w")
    assert len(await lessons.live()) == 2
    await lessons.consolidator(prune_above=0).prune("w")
    assert len(await lessons.live()) == 2
    assert set(await lessons.live()) < set(ids)


def test_what_is_found_trusted_and_young_is_worth_more() -> None:
    assert worth_of("normal", used=9, complaints=0, age_days=40) > worth_of("normal", used=0, complaints=0, age_days=40)
    assert worth_of("normal", used=3, complaints=0, age_days=40) > worth_of("low", used=3, complaints=0, age_days=40)
    assert worth_of("normal", used=3, complaints=0, age_days=40) > worth_of("normal", used=3, complaints=0, age_days=99)
    assert worth_of("normal", used=3, complaints=0, age_days=40) > worth_of("normal", used=3, complaints=2, age_days=40)
