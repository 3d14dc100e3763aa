"""Ratings take out of use what misleads, nobody can bury a good memory alone, and a person brings it back."""

import pytest

from reasoning_bank.errors import InputError, NotFoundError
from reasoning_bank.learning.merging import merge
from reasoning_bank.learning.rating import rate
from reasoning_bank.learning.support import rarely_helps
from reasoning_bank.learning.trusting import restore
from reasoning_bank.records import Verdict
from reasoning_bank.storage import history, lineage, memories, servings
from reasoning_bank.storage.scope import scoped_ids
from tests.learning.lessons import Lessons

ADVICE = "Clear the cache of the proxy before measuring anything."
SAME_ADVICE = "Clear the cache of the proxy before you measure anything."


async def rated(lessons: Lessons, id_: str, verdict: Verdict, *raters: str | None) -> None:
    for rater in raters:
        await lessons.write(lambda c, r=rater: rate(c, "w", [id_], verdict, now=lessons.now, actor=r))


async def trust(lessons: Lessons, id_: str) -> str:
    return (await lessons.memory(id_)).item.trust


@pytest.mark.parametrize(
    ("helped", "misled", "probability"),
    [
        (0, 0, 0.369),
        (0, 3, 0.8731),
        (0, 4, 0.9189),
        (1, 6, 0.8133),
        (3, 1, 0.0301),
        (40, 90, 0.4193),
        (300, 700, 0.4982),
    ],
)
def test_the_probability_of_harm_is_that_of_the_beta_distribution(helped: int, misled: int, probability: float) -> None:
    # The regularised incomplete beta function I_0.3(helped + 1/2, misled + 1/2), from a table.
    assert rarely_helps(helped, misled) == pytest.approx(probability, abs=2e-4)


async def test_what_repeatedly_misled_several_raters_is_quarantined_with_the_reason(lessons: Lessons) -> None:
    id_ = await lessons.add(ADVICE)
    await rated(lessons, id_, "misled", "a", "a", "b")
    assert await trust(lessons, id_) == "normal"
    await rated(lessons, id_, "misled", "b")
    memory = await lessons.memory(id_)
    assert memory.item.trust == "quarantined"
    assert memory.quarantined_for == "ratings: misled 4 times by 2 raters, helped 0"
    assert await lessons.read(lambda c: scoped_ids(c, "w", now=lessons.now, outcome="success")) == []


async def test_one_rater_cannot_bury_a_good_memory_alone(lessons: Lessons) -> None:
    id_ = await lessons.add(ADVICE)
    await rated(lessons, id_, "misled", *["enemy"] * 50)
    assert await trust(lessons, id_) == "normal"
    await rated(lessons, id_, "helped", "a", "b")
    await rated(lessons, id_, "misled", *["second enemy"] * 50)
    assert await trust(lessons, id_) in {"normal", "trusted"}, "thanks of others weigh as much as two enemies"


async def test_complaints_of_nobody_known_need_more_of_them(lessons: Lessons) -> None:
    id_ = await lessons.add(ADVICE)
    await rated(lessons, id_, "misled", *[None] * 6)
    assert await trust(lessons, id_) == "normal"
    await rated(lessons, id_, "misled", None)
    assert await trust(lessons, id_) == "quarantined"


async def test_the_task_stands_for_a_rater_nobody_knows(lessons: Lessons) -> None:
    id_ = await lessons.add(ADVICE)
    for number, task in enumerate(("one", "two")):
        given = {("w", id_, servings.task_hash(task)): lessons.now.replace(hour=number + 1)}
        await lessons.write(lambda c, g=given: servings.note(c, g))
        await rated(lessons, id_, "misled", None, None)
    assert (await lessons.memory(id_)).quarantined_for == "ratings: misled 4 times by 2 raters, helped 0"


async def test_ignored_is_no_complaint(lessons: Lessons) -> None:
    id_ = await lessons.add(ADVICE)
    await rated(lessons, id_, "ignored", *[f"r{number}" for number in range(30)])
    assert await trust(lessons, id_) == "normal"


async def test_a_person_restores_and_earlier_verdicts_count_no_more(lessons: Lessons) -> None:
    id_ = await lessons.add(ADVICE)
    await rated(lessons, id_, "misled", "a", "b", "a", "b")
    lessons.now = lessons.now.replace(hour=12)
    assert (await lessons.write(lambda c: restore(c, "w", id_, now=lessons.now))).item.trust == "normal"
    lessons.now = lessons.now.replace(hour=13)
    await rated(lessons, id_, "misled", "c")
    memory = await lessons.memory(id_)
    assert (memory.item.trust, memory.quarantined_for) == ("normal", None)
    changes = await lessons.read(lambda c: history.of_memory(c, "w", id_))
    assert [(each.before, each.after) for each in changes] == [("normal", "quarantined"), ("quarantined", "normal")]


async def test_later_thanks_clear_a_memory_that_ratings_took_out_of_use(lessons: Lessons) -> None:
    id_ = await lessons.add(ADVICE)
    await rated(lessons, id_, "misled", "a", "b", "a", "b")
    await rated(lessons, id_, "helped", "c", "d")
    assert await trust(lessons, id_) == "normal"


async def test_one_rater_alone_brings_nothing_back(lessons: Lessons) -> None:
    id_ = await lessons.add(ADVICE)
    await rated(lessons, id_, "misled", "a", "b", "a", "b")
    await rated(lessons, id_, "helped", *["its author"] * 9)
    assert await trust(lessons, id_) == "quarantined"


async def test_complaints_are_not_forgotten_where_verdicts_brought_a_memory_back(lessons: Lessons) -> None:
    id_ = await lessons.add(ADVICE)
    await rated(lessons, id_, "misled", "a", "b", "a", "b")
    await rated(lessons, id_, "helped", "c", "d")
    await rated(lessons, id_, "misled", *"eeffgghhiijjkk")
    memory = await lessons.memory(id_)
    assert memory.quarantined_for is not None
    assert "helped 2" in memory.quarantined_for


async def test_thanks_bring_nothing_back_that_was_quarantined_for_its_words(lessons: Lessons) -> None:
    id_ = await lessons.add(ADVICE, trust="quarantined")
    await rated(lessons, id_, "helped", "a", "b", "c")
    assert await trust(lessons, id_) == "quarantined"
    assert (await lessons.write(lambda c: restore(c, "w", id_, now=lessons.now))).item.trust == "low"


async def test_only_what_is_quarantined_is_restored(lessons: Lessons) -> None:
    id_ = await lessons.add(ADVICE)
    with pytest.raises(InputError, match="its trust is normal"):
        await lessons.write(lambda c: restore(c, "w", id_, now=lessons.now))
    with pytest.raises(NotFoundError):
        await lessons.write(lambda c: restore(c, "w", "m999", now=lessons.now))


async def test_two_independent_successes_make_a_memory_trusted(lessons: Lessons) -> None:
    id_ = await lessons.add(ADVICE)
    assert await trust(lessons, id_) == "normal", "its own task is one"
    await rated(lessons, id_, "helped", "a")
    assert await trust(lessons, id_) == "trusted"
    await rated(lessons, id_, "misled", "a", "a", "b", "b")
    assert await trust(lessons, id_) == "normal"


async def test_success_does_not_launder_low_trust(lessons: Lessons) -> None:
    id_ = await lessons.add(ADVICE, trust="low")
    await rated(lessons, id_, "helped", "a", "b", "c")
    assert await trust(lessons, id_) == "low"


async def test_verdicts_of_what_was_merged_count_against_the_survivor(lessons: Lessons) -> None:
    one, two = await lessons.add(ADVICE), await lessons.add(SAME_ADVICE)
    await rated(lessons, two, "misled", "a", "b")
    await lessons.consolidate(two)
    assert await lessons.live() == [one]
    await rated(lessons, one, "misled", "c", "d")
    assert await trust(lessons, one) == "quarantined"


async def test_verdicts_count_however_many_merges_ago_they_were_given(lessons: Lessons) -> None:
    ids = [await lessons.add(f"{ADVICE} Part {number}.") for number in range(3)]
    await rated(lessons, ids[2], "misled", "a", "b")
    for pair in (ids[1:], ids[:2]):
        await lessons.write(lambda c, p=pair: merge(c, "w", p, reason="the same", now=lessons.now))
    stands = await lessons.read(lambda c: lineage.successors(c, "w", ids))
    assert stands == dict.fromkeys(ids, ids[0])
    assert await lessons.read(lambda c: lineage.taken_in(c, "w", ids[0])) == [ids[1], ids[2]]
    await rated(lessons, ids[0], "misled", "c", "d")
    assert await trust(lessons, ids[0]) == "quarantined"


async def test_an_opponent_of_what_was_quarantined_is_no_longer_contradicted(lessons: Lessons) -> None:
    one = await lessons.add(ADVICE)
    two = await lessons.add("Do not clear the cache of the proxy before measuring anything.")
    await lessons.consolidate(two)
    assert (await lessons.memory(two)).contradicts == (one,)
    await rated(lessons, one, "misled", "a", "b", "a", "b")
    assert (await lessons.memory(two)).contradicts == ()
    found = await lessons.read(lambda c: lineage.contradictions(c, "w", [two]))
    assert [other for other, _ in found[two]] == [one]


async def test_rating_counts_as_storing_said_it_would(lessons: Lessons) -> None:
    id_ = await lessons.add(ADVICE)
    with pytest.raises(NotFoundError, match="m999"):
        await lessons.write(lambda c: rate(c, "w", [id_, "m999"], "helped", now=lessons.now))
    found = await lessons.read(lambda c: memories.by_ids(c, "w", [id_]))
    assert found[id_].counters.helped == 0
