"""Outcomes with and without each memory: counted right, with intervals, and silent where there is too little."""

import random
from datetime import datetime, timedelta

import pytest

from reasoning_bank.learning.lift import Share, difference, lift
from reasoning_bank.records import Judgement, NewTrace, Outcome, Trace
from reasoning_bank.storage import judgements, servings, traces
from tests.learning.lessons import START, Lessons

ADVICE = "Clear the cache of the proxy before measuring anything."
SAME_ADVICE = "Clear the cache of the proxy before you measure anything."


class Tasks:
    """Tasks that end one after the other, some of them with memories."""

    def __init__(self, lessons: Lessons) -> None:
        self._lessons = lessons
        self._count = 0

    async def end(self, outcome: Outcome, *given: str, times: int = 1, domain: str | None = None) -> None:
        for _ in range(times):
            self._count += 1
            at: datetime = START + timedelta(days=1, minutes=self._count)
            task = f"Task number {self._count}"
            served = {("w", id_, servings.task_hash(task)): at for id_ in given}
            report = NewTrace(task.upper(), outcome=outcome, domain=domain)
            trace = Trace(f"end {self._count}", "w", report, at + timedelta(seconds=9), "hash")
            await self._lessons.write(lambda c, s=served: servings.note(c, s))
            await self._lessons.write(lambda c, t=trace: traces.insert(c, t))


@pytest.fixture
def tasks(lessons: Lessons) -> Tasks:
    return Tasks(lessons)


def test_the_interval_of_a_rate_is_wilsons() -> None:
    # Newcombe, Statistics in Medicine 1998 (two-sided intervals for the single proportion), table I, method 3.
    assert Share(81, 263).interval == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert Share(15, 148).interval == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert Share(0, 20).interval == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert Share(0, 0).interval == (0.0, 1.0)


def test_the_interval_of_a_difference_is_newcombes() -> None:
    # Newcombe, Statistics in Medicine 1998 (interval estimation for the difference), table II, method 10.
    assert difference(Share(56, 70), Share(48, 80)) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    assert difference(Share(9, 10), Share(3, 10)) == pytest.approx((0.6, 0.1705, 0.8090), abs=5e-5)
    assert difference(Share(10, 10), Share(0, 10)) == pytest.approx((1.0, 0.6075, 1.0), abs=5e-5)


async def test_tasks_with_a_memory_are_compared_with_those_without(lessons: Lessons, tasks: Tasks) -> None:
    id_ = await lessons.add(ADVICE, outcome="unknown")
    await tasks.end("success", id_, times=9)
    await tasks.end("failure", id_)
    await tasks.end("success", times=3)
    await tasks.end("failure", times=6)
    await tasks.end("partial")
    await tasks.end("unknown", id_, times=5)
    (found,) = await lessons.read(lambda c: lift(c, "w"))
    assert (found.id, found.with_it, found.without) == (id_, Share(9, 10), Share(3, 10))
    assert (found.difference, found.low, found.high) == pytest.approx((0.6, 0.1705, 0.8090), abs=5e-5)
    assert found.finding == "helps"


async def test_a_memory_that_harms_is_found_and_comes_last(lessons: Lessons, tasks: Tasks) -> None:
    good, bad = await lessons.add(ADVICE, outcome="unknown"), await lessons.add("Other advice", outcome="unknown")
    await tasks.end("success", good, times=12)
    await tasks.end("failure", bad, times=12)
    found = await lessons.read(lambda c: lift(c, "w"))
    assert [(each.id, each.finding) for each in found] == [(good, "helps"), (bad, "harms")]
    assert [each.id for each in await lessons.read(lambda c: lift(c, "w", ids=[bad]))] == [bad]


async def test_of_few_tasks_nothing_is_said(lessons: Lessons, tasks: Tasks) -> None:
    id_ = await lessons.add(ADVICE, outcome="unknown")
    await tasks.end("success", id_, times=4)
    await tasks.end("failure", times=40)
    (found,) = await lessons.read(lambda c: lift(c, "w"))
    assert found.finding == "too few to tell"
    (found,) = await lessons.read(lambda c: lift(c, "w", least=4))
    assert found.finding == "helps"


async def test_only_tasks_of_its_time_and_domain_are_compared(lessons: Lessons, tasks: Tasks) -> None:
    await lessons.add("Older advice", task="An older task", outcome="failure")
    id_ = await lessons.add(ADVICE, outcome="unknown", domain="web")
    await tasks.end("success", id_, domain="web")
    await tasks.end("failure", times=7)
    await tasks.end("failure", domain="web", times=2)
    (found,) = await lessons.read(lambda c: lift(c, "w"))
    assert (found.with_it, found.without) == (Share(1, 1), Share(0, 2))


async def test_what_was_given_before_a_merge_counts_for_the_survivor(lessons: Lessons, tasks: Tasks) -> None:
    one, two = await lessons.add(ADVICE, outcome="unknown"), await lessons.add(SAME_ADVICE, outcome="unknown")
    await tasks.end("success", one)
    await tasks.end("failure", two)
    await lessons.consolidate(two)
    (found,) = await lessons.read(lambda c: lift(c, "w"))
    assert (found.id, found.with_it) == (one, Share(1, 2))


async def test_a_trace_that_was_stored_before_the_memory_was_given_is_none_of_its_tasks(
    lessons: Lessons, tasks: Tasks
) -> None:
    id_ = await lessons.add(ADVICE, task="Measure the proxy")
    given = {("w", id_, servings.task_hash("measure the  proxy")): START + timedelta(days=1)}
    await lessons.write(lambda c: servings.note(c, given))
    await tasks.end("success")
    assert await lessons.read(lambda c: lift(c, "w")) == []


async def test_each_memory_is_compared_with_every_task_that_did_not_have_it(lessons: Lessons, tasks: Tasks) -> None:
    domains = (None, "web", "db")
    own = [await lessons.add(f"Advice {domain}", outcome="unknown", domain=domain) for domain in domains]
    chance, ended = random.Random(5), list[tuple[set[str], str | None, bool]]()
    for _ in range(60):
        given, domain = set(chance.sample(own, chance.randrange(4))), chance.choice(domains)
        solved = chance.random() < 0.5
        await tasks.end("success" if solved else "failure", *given, domain=domain)
        ended.append((given, domain, solved))
    found = {each.id: each for each in await lessons.read(lambda c: lift(c, "w"))}
    for id_, domain in zip(own, domains, strict=True):
        had = [solved for given, _, solved in ended if id_ in given]
        others = [solved for given, its, solved in ended if id_ not in given and domain in (None, its)]
        assert found[id_].with_it == Share(sum(had), len(had))
        assert found[id_].without == Share(sum(others), len(others))


async def test_a_task_whose_end_was_only_guessed_counts_for_nothing(lessons: Lessons, tasks: Tasks) -> None:
    id_ = await lessons.add(ADVICE, outcome="unknown")
    await tasks.end("unknown", id_, times=2)
    for number, confidence in enumerate((0.5, 0.9), start=1):
        judged = Judgement("success", "it says so", confidence, "rules/1")
        await lessons.write(lambda c, n=number, j=judged: judgements.put(c, "w", f"end {n}", j, now=START))
    (found,) = await lessons.read(lambda c: lift(c, "w"))
    assert found.with_it == Share(1, 1)
