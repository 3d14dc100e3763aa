from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection

from reasoning_bank.learning.rating import rate
from reasoning_bank.records import Counters, ErrorContext, Memory, MemoryItem, Query
from reasoning_bank.retrieval.scoring import TYPE_ALONE, Candidate
from reasoning_bank.retrieval.selection import MOST_REPEATS, Limits, Selection, hidden_reason, select
from tests.retrieval.bank import SmallBank, found

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LESSON = MemoryItem("task", title="T", content="what to do")
TURN = "the cat sat on the old mat near the warm stove in the kitchen"


def kept(id_: str, item: MemoryItem = LESSON, *, trace: str = "t", hash_: str | None = None) -> Memory:
    return Memory(id_, "w", trace, item, Counters(), NOW, NOW, hash_ or f"hash of {id_}")


def scored(memory: Memory, relevance: float = 0.9, *, match: float = 0.0) -> Candidate:
    return Candidate(memory, 1.0, relevance, error_match=match)


def chosen(
    *candidates: Candidate, limits: Limits | None = None, explain: bool = False, now: datetime = NOW
) -> tuple[list[str], Selection]:
    found = select(
        candidates,
        limits=limits or Limits(k=3, floor=0.5),
        hidden=lambda memory: hidden_reason(memory, workspace="w", now=now),
        explain=explain,
    )
    return [each.memory.id for each in found.memories], found


def reasons(*candidates: Candidate, limits: Limits | None = None) -> dict[str, str]:
    _, found = chosen(*candidates, limits=limits, explain=True)
    return {each.candidate.memory.id: each.reason for each in found.decisions}


def test_copies_give_their_place_to_the_next() -> None:
    candidates = [scored(kept(f"m{n}", hash_=f"h{n // 2}")) for n in range(6)]
    ids, found = chosen(*candidates)
    assert (ids, found.below_floor, found.decisions) == (["m0", "m2", "m4"], 0, ())
    assert reasons(*candidates)["m1"] == "duplicate of m0"


@pytest.mark.parametrize(("floor", "ids", "below"), [(0.0, ["a", "b", "c"], 0), (0.5, ["a", "c"], 1), (0.95, [], 3)])
def test_those_of_the_k_best_below_the_floor_are_counted_not_replaced(floor: float, ids: list[str], below: int) -> None:
    candidates = [scored(kept(name), score) for name, score in zip("abcd", (0.9, 0.2, 0.6, 0.9), strict=True)]
    answered, found = chosen(*candidates, limits=Limits(k=3, floor=floor))
    assert (answered, found.below_floor) == (ids, below)


def test_every_candidate_has_its_reason_when_asked() -> None:
    a, b, c, d, e, f = (kept(name) for name in "abcdef")
    told = reasons(
        scored(a),
        scored(b),
        scored(replace(c, item=replace(c.item, trust="quarantined"))),
        scored(d, 0.1),
        scored(e),
        scored(f),
        limits=Limits(k=3, floor=0.5, excluded=frozenset("b")),
    )
    assert told == {
        "a": "chosen",
        "b": "excluded",
        "c": "hidden: quarantined",
        "d": "below floor",
        "e": "chosen",
        "f": "beyond k",
    }


@pytest.mark.parametrize(
    ("memory", "reason"),
    [
        (replace(kept("m"), workspace="other"), "hidden: of another workspace"),
        (replace(kept("m"), deleted_at=NOW), "hidden: forgotten"),
        (replace(kept("m"), superseded_by="n"), "hidden: superseded by n"),
        (kept("m", replace(LESSON, trust="quarantined")), "hidden: quarantined"),
        (kept("m", replace(LESSON, valid_to=NOW)), "hidden: no longer valid"),
        (kept("m", replace(LESSON, valid_from=NOW + timedelta(days=1))), "hidden: not yet valid"),
    ],
)
def test_what_must_not_be_seen_is_not_answered_whatever_the_floor(memory: Memory, reason: str) -> None:
    everything = Limits(k=3, floor=0)
    assert chosen(scored(memory), limits=everything)[0] == []
    assert reasons(scored(memory), limits=everything) == {"m": reason}


def test_a_memory_is_served_while_it_is_valid() -> None:
    item = replace(LESSON, valid_from=NOW, valid_to=NOW + timedelta(days=1))
    assert chosen(scored(kept("m", item)))[0] == ["m"]


def test_caps_hold_for_all_when_they_are_asked_for() -> None:
    candidates = [
        scored(kept("a", replace(LESSON, actor="Ann"), trace="t1")),
        scored(kept("b", trace="t1")),
        scored(kept("c", replace(LESSON, actor="Ann"), trace="t2")),
        scored(kept("d", trace="t3")),
    ]
    assert chosen(*candidates)[0] == ["a", "b", "c"]
    capped = Limits(k=3, floor=0.5, per_trace=1, per_actor=1)
    assert chosen(*candidates, limits=capped)[0] == ["a", "d"]
    assert reasons(*candidates, limits=capped) == {"a": "chosen", "b": "trace cap", "c": "actor cap", "d": "chosen"}


def test_who_is_not_trusted_gets_one_place_each_trace_and_actor() -> None:
    low = replace(LESSON, trust="low")
    candidates = [
        scored(kept("a", replace(low, actor="Eve", content="one thing"), trace="t1")),
        scored(kept("b", replace(low, content="quite another"), trace="t1")),
        scored(kept("c", replace(low, actor="Eve", content="a third matter"), trace="t2")),
        scored(kept("d", trace="t1")),
    ]
    assert reasons(*candidates) == {
        "a": "chosen",
        "b": "trace cap: low trust",
        "c": "actor cap: low trust",
        "d": "chosen",
    }


def test_near_copies_are_left_out_when_asked_and_always_at_low_trust() -> None:
    near = [kept(name, MemoryItem(f"{TURN} {name}"), trace=name) for name in ("today", "yesterday")]
    assert chosen(*map(scored, near))[0] == ["today", "yesterday"]
    assert reasons(*map(scored, near), limits=Limits(k=3, floor=0, near_duplicates=0.8)) == {
        "today": "chosen",
        "yesterday": "near-duplicate of today",
    }
    distrusted = kept("low", MemoryItem(f"{TURN} again", trust="low"), trace="t3")
    assert reasons(scored(near[0]), scored(distrusted))["low"] == "near-duplicate of today"


def test_memories_of_one_task_are_near_copies_by_what_they_say_not_by_the_task() -> None:
    some, other = (MemoryItem(TURN, title=title, content=title) for title in ("Check the lock", "Read the log"))
    both = [scored(kept("a", some)), scored(kept("b", other))]
    assert chosen(*both, limits=Limits(k=3, floor=0, near_duplicates=0.8))[0] == ["a", "b"]


def test_a_flood_of_near_copies_is_not_read_to_its_end() -> None:
    said: dict[str, frozenset[str]] = {}
    flood = [scored(kept(f"m{n}", MemoryItem(f"{TURN} {n}", trust="low"), trace=f"t{n}")) for n in range(1_000)]
    last = scored(kept("last", MemoryItem("bake bread")))
    limits = Limits(k=2, floor=0)
    answer = select([*flood, last], limits=limits, hidden=lambda _: None, said=said)
    assert [each.memory.id for each in answer.memories] == ["m0", "last"]
    assert len(said) <= MOST_REPEATS + limits.k
    known = dict(said)
    assert select([*flood, last], limits=limits, hidden=lambda _: None, said=said).memories == answer.memories
    assert said == known


def test_a_choice_is_final_when_nothing_further_down_can_be_chosen() -> None:
    copies = [scored(kept(f"m{n}", MemoryItem(f"{TURN} {n}"))) for n in range(MOST_REPEATS + 1)]
    assert [chosen(*copies[:count])[1].is_final for count in (2, 3)] == [False, True]
    assert chosen(scored(kept("a"), 0.1), limits=Limits(k=1, floor=0.5))[1].is_final
    near = Limits(k=3, floor=0, near_duplicates=0.8)
    assert [chosen(*some, limits=near)[1].is_final for some in (copies[:-1], copies)] == [False, True]
    low = [replace(each, memory=replace(each.memory, item=replace(each.memory.item, trust="low"))) for each in copies]
    apart = [replace(each, memory=replace(each.memory, trace_id=each.memory.id)) for each in low]
    assert not chosen(*apart)[1].is_final


def warning(id_: str) -> Memory:
    return kept(id_, replace(LESSON, outcome="failure", error_context=ErrorContext("KeyError")))


def test_a_warning_about_the_tasks_error_takes_the_last_place() -> None:
    others = [scored(kept(name)) for name in "abc"]
    candidates = [*others, scored(warning("w1"), 0.6, match=1), scored(warning("w2"), 0.6, match=1)]
    assert chosen(*candidates)[0] == ["a", "b", "w1"]
    assert reasons(*candidates) == {
        "a": "chosen",
        "b": "chosen",
        "c": "beyond k: a warning about the task's error took its place",
        "w1": "chosen",
        "w2": "beyond k",
    }


def test_a_warning_needs_no_second_place_and_must_be_relevant() -> None:
    others = [scored(kept(name)) for name in "ab"]
    first, second = scored(warning("w1"), match=0.5), scored(warning("w2"), match=1)
    assert chosen(*others, first, second)[0] == ["a", "b", "w1"]
    assert chosen(*others, scored(kept("c")), scored(warning("w1"), 0.4, match=1))[0] == ["a", "b", "c"]
    assert chosen(*others, scored(kept("c")), scored(kept("fix"), match=1))[0] == ["a", "b", "c"]


def test_a_warning_of_the_same_kind_of_error_takes_nobodys_place() -> None:
    others = [scored(kept(name)) for name in "abc"]
    assert chosen(*others, scored(warning("w"), match=TYPE_ALONE))[0] == ["a", "b", "c"]
    assert chosen(*others[:2], scored(warning("w"), match=TYPE_ALONE))[0] == ["a", "b", "w"]


def test_the_only_place_is_not_taken_from_a_more_relevant_memory() -> None:
    one = Limits(k=1, floor=0.5)
    right = scored(kept("a"), 0.9)
    assert chosen(right, scored(warning("w"), 0.8, match=1), limits=one)[0] == ["a"]
    assert chosen(right, scored(warning("w"), 0.9, match=1), limits=one)[0] == ["w"]
    assert chosen(scored(kept("a"), 0.1), scored(warning("w"), 0.8, match=1), limits=one)[0] == ["w"]


def test_a_warning_is_held_only_against_those_who_stay() -> None:
    first, last = scored(kept("a", trace="t1")), scored(kept("b", trace="t2"))
    told = scored(replace(warning("w"), trace_id="t2", content_hash=last.memory.content_hash), match=1)
    assert chosen(first, last, told, limits=Limits(k=2, floor=0.5, per_trace=1))[0] == ["a", "w"]
    again = scored(replace(told.memory, trace_id="t1"), match=1)
    assert reasons(first, last, again, limits=Limits(k=2, floor=0.5, per_trace=1)) == {
        "a": "chosen",
        "b": "chosen",
        "w": "trace cap",
    }


def test_an_invented_error_buys_no_place() -> None:
    others = [scored(kept(name)) for name in "abc"]
    forged = replace(warning("w"), item=replace(warning("w").item, trust="low"), trace_id="other")
    assert chosen(*others, scored(forged, match=1))[0] == ["a", "b", "c"]


memories = st.builds(
    kept,
    st.uuids().map(str),
    st.builds(
        replace,
        st.just(LESSON),
        trust=st.sampled_from(["quarantined", "low", "normal"]),
        outcome=st.sampled_from(["failure", "success"]),
        actor=st.sampled_from([None, "Ann"]),
        content=st.sampled_from(["wait for the lock", "read the log"]),
    ),
    trace=st.sampled_from("tu"),
    hash_=st.sampled_from(["h1", "h2", "h3", None]),
)
listed = st.lists(
    st.builds(scored, memories, st.sampled_from([0.1, 0.5, 0.9]), match=st.sampled_from([0.0, 1.0])), max_size=12
)
limits = st.builds(
    Limits,
    k=st.integers(1, 5),
    floor=st.sampled_from([0.0, 0.5]),
    per_trace=st.sampled_from([None, 1, 2]),
    near_duplicates=st.sampled_from([None, 0.9]),
    group_by_trace=st.booleans(),
)


@given(listed, limits)
def test_an_answer_keeps_every_promise(candidates: list[Candidate], limits: Limits) -> None:
    ids, answer = chosen(*candidates, limits=limits, explain=True)
    memories = [each.memory for each in answer.memories]
    assert len(ids) <= limits.k
    assert answer.below_floor <= limits.k
    assert len({memory.content_hash for memory in memories}) == len(memories)
    assert all(memory.item.trust != "quarantined" for memory in memories)
    assert all(each.score >= limits.floor for each in answer.memories)
    assert all(list(map(of_trace, memories)).count(trace) <= (limits.per_trace or 9) for trace in "tu")
    assert sum(memory.item.trust == "low" for memory in memories) <= 2
    assert {each.candidate.memory.id for each in answer.decisions if each.reason == "chosen"} == set(ids)
    assert len(answer.decisions) == len(candidates)
    assert chosen(*candidates, limits=limits)[0] == ids
    if limits.group_by_trace:
        assert sum(a != b for a, b in pairwise(map(of_trace, memories))) <= 1
    else:
        places = [each.memory.id for each in candidates]
        assert ids == sorted(ids, key=places.index)


def of_trace(memory: Memory) -> str:
    return memory.trace_id


def test_a_trace_comes_together_at_the_place_of_its_best_in_its_own_order() -> None:
    turns = {n: replace(LESSON, position=n) for n in range(3)}
    candidates = [
        scored(kept("a2", turns[2], trace="a")),
        scored(kept("b1", trace="b")),
        scored(kept("a0", turns[0], trace="a")),
        scored(kept("b2", trace="b")),
        scored(kept("a1", turns[1], trace="a")),
    ]
    limits = Limits(k=5, floor=0, group_by_trace=True)
    assert chosen(*candidates, limits=limits)[0] == ["a0", "a1", "a2", "b1", "b2"]


async def test_quarantined_and_misleading_memories_leave_their_place_to_others(bank: SmallBank) -> None:
    task = MemoryItem("Clear the build cache", title="T", content="remove the folder")
    items = [replace(task, content=f"remove the folder {n}") for n in range(4)]
    quarantined, misleading, *others = await bank.store("w", replace(items[0], trust="quarantined"), *items[1:])

    def complain(connection: Connection) -> None:
        for _ in range(7):
            rate(connection, "w", [misleading], "misled", now=NOW)

    await bank.database.write(complain)
    answered = await found(bank.retriever(), "w", Query("Clear the build cache", k=2, min_score=0))
    assert answered == others
    everything = await found(bank.retriever(), "w", Query("Clear the build cache", k=9, min_score=0))
    assert not {quarantined, misleading} & set(everything)
