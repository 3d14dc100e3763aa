"""What repeats becomes one, what contradicts is decided or shown, and nothing is lost on the way."""

from dataclasses import replace

import pytest

from reasoning_bank.errors import BusyError
from reasoning_bank.learning import consolidation
from reasoning_bank.learning.consolidation import decided, resembling
from reasoning_bank.learning.merging import GENERAL
from reasoning_bank.learning.rating import rate
from reasoning_bank.learning.trusting import restore
from reasoning_bank.records import Counters
from reasoning_bank.storage import feedback, history, lineage, memories
from reasoning_bank.storage.outbox import OutboxRow
from tests.learning.lessons import Lessons

PIN = "Pin gcc to version 12 in the image: version 13 miscompiles the vector loop."
PIN_AGAIN = "Pin gcc to version 12 in the image, since version 13 miscompiles the vector loop."
PIN_OTHER = "Pin gcc to version 11 in the image: version 12 miscompiles the vector loop."
NO_PIN = "Do not pin gcc to version 12 in the image: version 13 compiles the vector loop."


async def test_near_duplicates_become_one_with_the_sources_tags_and_counters_of_both(lessons: Lessons) -> None:
    one = await lessons.add(PIN, tags=("gcc",))
    two = await lessons.add(PIN_AGAIN, tags=("GCC", "build"))
    for id_ in (one, two):
        await lessons.write(lambda c, id_=id_: feedback.add(c, "w", [id_], "helped", now=lessons.now))
    assert await lessons.consolidate(two) == 1
    survivor, gone, family = await lessons.memory(one), await lessons.memory(two), await lessons.family(one)
    assert await lessons.live() == [one]
    assert survivor.item.content == PIN
    assert survivor.item.tags == ("gcc", "build")
    assert survivor.counters == Counters(helped=2)
    assert (family.parents, family.supersedes, family.sources) == ((two,), (two,), ("t1", "t2"))
    assert (family.ancestry, family.stage) == ((two,), 1)
    assert (gone.superseded_by, gone.item.valid_to) == (one, lessons.now)
    assert gone.item.content == PIN_AGAIN, "nothing is destroyed"
    assert [entry.event for entry in await lessons.read(lambda c: history.of_memory(c, "w", two))] == ["merged"]


async def test_consolidating_again_changes_nothing(lessons: Lessons) -> None:
    ids = [await lessons.add(PIN), await lessons.add(PIN_AGAIN), await lessons.add(PIN_OTHER)]
    await lessons.consolidate(*ids)
    before = [await lessons.memory(id_) for id_ in ids]
    assert await lessons.consolidate(*ids) == 0
    assert [await lessons.memory(id_) for id_ in ids] == before


async def test_what_differs_in_a_number_stays_two(lessons: Lessons) -> None:
    one, two = await lessons.add(PIN), await lessons.add(PIN_OTHER)
    assert await lessons.consolidate(one, two) == 0
    assert await lessons.live() == [one, two]


async def test_imported_rows_are_neither_merged_nor_decided_upon(lessons: Lessons) -> None:
    one = await lessons.add(PIN, origin="import")
    ids = [one, await lessons.add(PIN_AGAIN), await lessons.add(NO_PIN)]
    before = await lessons.memory(one)
    await lessons.consolidate(*ids)
    assert replace(await lessons.memory(one), contradicts=()) == before


async def test_the_survivor_is_the_one_that_more_speaks_for(lessons: Lessons) -> None:
    one, two = await lessons.add(PIN), await lessons.add(PIN_AGAIN)
    await lessons.write(lambda c: feedback.add(c, "w", [two], "helped", now=lessons.now))
    await lessons.consolidate(one, two)
    assert await lessons.live() == [two]
    assert (await lessons.memory(one)).superseded_by == two


async def test_a_copy_that_is_trusted_less_gives_nothing_to_the_one_it_repeats(lessons: Lessons) -> None:
    good, copy = await lessons.add(PIN), await lessons.add(PIN_AGAIN, trust="low", tags=("spam",))
    await lessons.write(lambda c: feedback.add(c, "w", [copy], "helped", now=lessons.now))
    await lessons.consolidate(copy)
    survivor = await lessons.memory(good)
    assert await lessons.live() == [good]
    assert (survivor.item.trust, survivor.item.tags, survivor.counters) == ("normal", (), Counters())
    assert (await lessons.family(good)).sources == ("t1",)


async def test_two_of_low_trust_stay_of_low_trust(lessons: Lessons) -> None:
    one, two = [await lessons.add(text, trust="low") for text in (PIN, PIN_AGAIN)]
    await lessons.consolidate(one, two)
    assert (await lessons.memory(one)).item.trust == "low"


async def test_a_lesson_of_two_tasks_that_ended_well_is_trusted(lessons: Lessons) -> None:
    one = await lessons.add(PIN, task="Build the image of the renderer")
    two = await lessons.add(PIN_AGAIN, task="Build the image of the renderer for release")
    await lessons.consolidate(one, two)
    assert (await lessons.memory(one)).item.trust == "trusted"
    entries = await lessons.read(lambda c: history.of_memory(c, "w", one))
    assert [(each.event, each.before, each.after) for each in entries] == [("trust", "normal", "trusted")]


async def test_a_merged_memory_is_found_by_the_tasks_of_both(lessons: Lessons) -> None:
    one = await lessons.add(PIN, task="The image of the renderer does not build any more")
    two = await lessons.add(PIN_AGAIN, task="The image of the renderer does not build any more on the new runner")
    await lessons.consolidate(one, two)
    assert "on the new runner" in (await lessons.memory(one)).item.text


async def test_the_same_advice_in_three_situations_becomes_general(lessons: Lessons) -> None:
    tasks = ("Render the film of the trailer", "Train speech models overnight", "Ship firmware for pumps")
    ids: list[str] = []
    done: list[int] = []
    for task, word in zip(tasks, ("films", "speech", "pumps"), strict=True):
        ids.append(await lessons.add(PIN, task=task, title=f"Lesson of {word}", tags=("gcc", word)))
        done.append(await lessons.consolidate(ids[-1]))
    assert done == [0, 0, 1], "two situations may be chance"
    (general,) = await lessons.live()
    memory, family = await lessons.memory(general), await lessons.family(general)
    assert (memory.item.made_by, memory.item.content) == (GENERAL, PIN)
    assert set(family.parents) == set(family.supersedes) == set(ids)
    assert (set(family.sources), family.stage) == ({"t1", "t2", "t3"}, 1)
    assert all(task in memory.item.text for task in tasks)
    assert memory.item.trust == "trusted"
    fourth = await lessons.add(PIN_AGAIN, task="Compile the simulator of tides", title="Lesson of tides")
    assert await lessons.consolidate(fourth) == 1
    assert await lessons.live() == [general]
    assert len((await lessons.family(general)).sources) == 4


async def test_opposite_advice_with_equal_support_stays_and_is_shown(lessons: Lessons) -> None:
    one, two = await lessons.add(PIN), await lessons.add(NO_PIN)
    assert await lessons.consolidate(two) == 1
    assert await lessons.live() == [one, two]
    assert (await lessons.memory(one)).contradicts == (two,)
    assert (await lessons.memory(two)).contradicts == (one,)
    assert (await lessons.family(one)).contradicts == (two,)


async def test_a_verdict_decides_between_contradicting_memories_and_history_stays(lessons: Lessons) -> None:
    one, two = await lessons.add(PIN), await lessons.add(NO_PIN)
    await lessons.consolidate(two)
    await lessons.write(lambda c: rate(c, "w", [two], "helped", now=lessons.now, actor="a"))
    old, new = await lessons.memory(one), await lessons.memory(two)
    assert await lessons.live() == [two]
    assert (old.superseded_by, old.item.valid_to) == (two, new.item.valid_from)
    assert new.item.valid_from == new.created_at
    assert new.contradicts == ()
    entries = await lessons.read(lambda c: history.of_memory(c, "w", one))
    assert [(each.event, each.after) for each in entries] == [("overruled", two)]
    assert (await lessons.family(two)).ancestry == (one,)


async def test_the_older_of_two_holds_where_clearly_more_speaks_for_it(lessons: Lessons) -> None:
    one = await lessons.add(PIN)
    for rater in ("a", "b"):
        await lessons.write(lambda c, r=rater: rate(c, "w", [one], "helped", now=lessons.now, actor=r))
    two = await lessons.add(NO_PIN)
    await lessons.consolidate(two)
    loser = await lessons.memory(two)
    assert await lessons.live() == [one]
    assert (loser.superseded_by, loser.item.valid_to) == (one, loser.created_at)


async def test_a_new_value_of_a_setting_replaces_the_old_one(lessons: Lessons) -> None:
    text = "Set `pool_size` to {} when the workers time out waiting for a database connection."
    one, two = await lessons.add(text.format(20)), await lessons.add(text.format(50))
    await lessons.consolidate(two)
    assert await lessons.live() == [two]
    assert (await lessons.memory(one)).item.valid_to == (await lessons.memory(two)).item.valid_from


async def test_what_is_not_trusted_overrules_nothing(lessons: Lessons) -> None:
    text = "Set `pool_size` to {} when the workers time out waiting for a database connection."
    one, two = await lessons.add(text.format(20)), await lessons.add(text.format(50), trust="low")
    await lessons.consolidate(two)
    assert await lessons.live() == [one]


async def test_a_verdict_on_a_merged_memory_counts_for_the_one_that_took_it_in(lessons: Lessons) -> None:
    one, two = await lessons.add(PIN), await lessons.add(PIN_AGAIN)
    await lessons.consolidate(two)
    counted = await lessons.write(lambda c: rate(c, "w", [two], "helped", now=lessons.now))
    assert counted == {two: Counters(helped=1)}
    assert (await lessons.memory(one)).counters.helped == 1
    assert (await lessons.memory(two)).counters.helped == 0


async def test_a_verdict_on_an_overruled_memory_is_its_own(lessons: Lessons) -> None:
    text = "Set `pool_size` to {} when the workers time out waiting for a database connection."
    one, two = await lessons.add(text.format(20)), await lessons.add(text.format(50))
    await lessons.consolidate(two)
    await lessons.write(lambda c: rate(c, "w", [one], "misled", now=lessons.now))
    assert (await lessons.memory(two)).counters.misled == 0
    assert await lessons.read(lambda c: lineage.successors(c, "w", [one])) == {one: one}


async def test_an_edit_between_deciding_and_doing_keeps_both(lessons: Lessons) -> None:
    one, two = await lessons.add(PIN), await lessons.add(PIN_AGAIN)
    decisions = await lessons.read(lambda c: decided(c, "w", two, resembling(c, "w", [two])[two]))
    await lessons.write(lambda c: memories.soft_delete(c, "w", [one], lessons.now))
    consolidator = lessons.consolidator()
    done = [await lessons.write(lambda c, d=each: consolidator.do(c, "w", d)) for each in decisions]
    assert done == [False]
    assert (await lessons.memory(two)).superseded_by is None


async def test_what_has_no_vectors_yet_waits_and_is_not_forgotten(
    lessons: Lessons, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consolidation, "EMBEDDING_PAUSES_S", (0.01,))
    one = await lessons.add(PIN)
    two = await lessons.add(PIN_AGAIN, embed=False)
    row = OutboxRow(1, "w", "consolidate", {"ids": [one, two]}, 1, lessons.now)
    with pytest.raises(BusyError, match="no vectors yet"):
        await lessons.consolidator().handler([row])
    late = replace(row, created_at=lessons.now - consolidation.GIVES_UP_AFTER)
    await lessons.consolidator().handler([late])
    assert await lessons.live() == [one, two], "after a day it is left as it is"
    await lessons.embed(two)
    await lessons.consolidator().handler([row])
    assert await lessons.live() == [one]


async def test_what_was_overruled_holds_again_when_the_other_is_quarantined(lessons: Lessons) -> None:
    text = "Set `pool_size` to {} when the workers time out waiting for a database connection."
    one, two = await lessons.add(text.format(20)), await lessons.add(text.format(50))
    for number in range(4):
        await lessons.add(f"Lesson {number} of another matter", task=f"Another matter, part {number}")
    await lessons.write(lambda c: lineage.add_sources(c, "w", two, ["t3", "t4", "t5", "t6"], lessons.now))
    await lessons.consolidate(two)
    assert one not in await lessons.live()
    for rater in ("a", "b", "a", "b"):
        await lessons.write(lambda c, r=rater: rate(c, "w", [two], "misled", now=lessons.now, actor=r))
    assert (await lessons.memory(two)).item.trust == "quarantined"
    again = await lessons.memory(one)
    assert (again.superseded_by, again.item.valid_to, again.contradicts) == (None, None, ())
    events = [entry.event for entry in await lessons.read(lambda c: history.of_memory(c, "w", one))]
    assert events == ["overruled", "reinstated"]
    lessons.now = lessons.now.replace(hour=9)
    await lessons.write(lambda c: restore(c, "w", two, now=lessons.now))
    assert one not in await lessons.live()


async def trusted_pin(lessons: Lessons) -> str:
    """A lesson that two tasks which ended well have taught."""
    one = await lessons.add(PIN, task="Build the image of the renderer")
    await lessons.consolidate(await lessons.add(PIN_AGAIN, task="Build the image of the renderer for release"))
    assert (await lessons.memory(one)).item.trust == "trusted"
    return one


async def test_a_single_claim_does_not_stand_against_what_is_trusted_but_repeated_ones_do(lessons: Lessons) -> None:
    one = await trusted_pin(lessons)
    claims: list[str] = []
    standing: list[list[str]] = []
    for number in range(3):
        claims.append(await lessons.add(f"{NO_PIN} ({'again ' * number})", task=f"Build the image, day {number}"))
        await lessons.consolidate(claims[-1])
        standing.append([id_ for id_ in await lessons.live() if id_ in {one, *claims}])
    assert standing == [[one], [one, claims[1]], [claims[1]]]


async def test_complaints_about_what_overruled_it_bring_a_memory_back(lessons: Lessons) -> None:
    one = await trusted_pin(lessons)
    two = await lessons.add(NO_PIN)
    await lessons.consolidate(two)
    assert await lessons.live() == [one]
    await lessons.write(lambda c: rate(c, "w", [one], "misled", now=lessons.now, actor="a"))
    assert await lessons.live() == [one]
    await lessons.write(lambda c: rate(c, "w", [one], "misled", now=lessons.now, actor="b"))
    assert (await lessons.memory(two)).superseded_by is None
    assert await lessons.live() == [two], "one task against none"
