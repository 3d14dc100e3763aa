"""What a plan leaves out could not have changed the answer."""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from typing import cast

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reasoning_bank.records import MemoryItem, Query, Retrieval, Stage, Strategy
from reasoning_bank.retrieval.lexical import query_terms
from reasoning_bank.retrieval.options import RetrievalOptions
from reasoning_bank.retrieval.planner import LEAST_CANDIDATES, STRATEGIES, Situation, candidates_wanted, plan
from reasoning_bank.retrieval.postings import Segment, build_segment, frequencies, unpack_terms
from reasoning_bank.retrieval.vocabulary import empty_vocabulary, extended
from reasoning_bank.text.analyser import analyse, analyse_query
from tests.retrieval.bank import SmallBank, ids_of

NUMBERS = count()
FULL = Situation(memories=100, candidates=100, names_times=True)


@pytest.mark.parametrize(
    ("situation", "skipped"),
    [
        (FULL, set[str]()),
        (Situation(memories=100, candidates=100, knows_words=False, names_times=True), {"keyword"}),
        (Situation(memories=100, candidates=100, knows_names=False, names_times=True), {"entity"}),
        (Situation(memories=100, candidates=100), {"temporal"}),
        (Situation(memories=100, candidates=100, names_times=True, named=2), set[str]()),
        (Situation(memories=100, candidates=100, names_times=True, named=3), {"semantic"}),
        (Situation(memories=100, candidates=0, names_times=True), set(STRATEGIES)),
    ],
)
def test_a_strategy_runs_unless_it_could_change_nothing(situation: Situation, skipped: set[str]) -> None:
    chosen = plan(situation, places=3)
    assert set(chosen.skipped) == skipped
    assert all(chosen.skipped.values())
    assert chosen.as_json()["strategies"] == [each for each in STRATEGIES if each not in skipped]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_the_user_leaves_out_does_not_run(strategy: Strategy) -> None:
    chosen = plan(FULL, places=3, without=frozenset((cast("Stage", strategy),)))
    assert dict(chosen.skipped) == {strategy: "left out by setting"}


@pytest.mark.parametrize(
    ("situation", "path"),
    [
        (FULL, "exact"),
        (Situation(memories=60_000, candidates=60_000), "chroma"),
        (Situation(memories=60_000, candidates=10, filtered=True), "exact"),
        (Situation(memories=60_000, candidates=60_000, has_model=False), "none"),
        (Situation(memories=60_000, candidates=60_000, has_vectors=False), "none"),
        (Situation(memories=60_000, candidates=60_000, named=9), "none"),
    ],
)
def test_the_path_follows_from_size_filters_and_what_there_is(situation: Situation, path: str) -> None:
    assert plan(situation, places=3).path == path


def test_an_index_is_asked_for_enough() -> None:
    assert candidates_wanted(1) == LEAST_CANDIDATES
    assert candidates_wanted(1_000) == 4_000


TEXTS = st.lists(
    st.sampled_from(
        [
            "table",
            "Index",
            "log_in",
            "timeout-ms",
            "brot",
            "parse_json()",
            "src/app.py",
            "数据库连接超时",
            "ночью",
            "été",
        ]
    ),
    max_size=6,
).map(" ".join)


@given(st.lists(st.lists(TEXTS, min_size=1, max_size=5), min_size=1, max_size=6), TEXTS)
@settings(max_examples=60)
def test_the_filter_never_denies_a_term_that_some_memory_holds(batches: list[list[str]], query: str) -> None:
    vocabulary, segments, first = empty_vocabulary(), tuple[Segment, ...](), 0
    for texts in batches:
        blobs = [analyse(MemoryItem(text, content=text, tags=("t",))).packed() for text in texts]
        segments = (*segments, build_segment(unpack_terms(blobs), first))
        first += len(texts)
        vocabulary = extended(vocabulary, segments[-1].keys, segments=segments)
        everything = np.concatenate([segment.keys for segment in segments])
        assert vocabulary.known(everything).all()
        terms = query_terms(analyse_query(query)).keys
        assert vocabulary.known(terms)[frequencies(segments, terms) > 0].all()


@given(
    st.lists(TEXTS.filter(bool), min_size=1, max_size=6),
    TEXTS.map(lambda text: f"{text} unheard")
    | st.sampled_from(["parse_json", "log_in", "src/app.py", "夜", "xyzzy_1"]),
    st.integers(1, 4),
)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_what_words_and_names_the_bank_does_not_know_changes_no_answer(
    bank: SmallBank, texts: list[str], task: str, k: int
) -> None:
    """An answer with the strategies that the plan skips for want of terms is the one without them."""
    workspace = f"w{next(NUMBERS)}"
    await bank.store(workspace, *(MemoryItem(text, content=text) for text in texts))
    query = Query(task, k=k, min_score=0, explain=True)
    answer = await retrieved(bank, workspace, query)
    assert answer.explanation is not None
    skipped = cast("dict[Stage, str]", answer.explanation.plan["skipped"])
    needless = frozenset[Stage](skipped.keys() & {"keyword", "entity"})
    left_out = await retrieved(bank, workspace, query, without=needless)
    assert ids_of(answer) == ids_of(left_out)
    assert [each.score for each in answer.memories] == [each.score for each in left_out.memories]


async def retrieved(
    bank: SmallBank, workspace: str, query: Query, *, without: frozenset[Stage] = frozenset()
) -> Retrieval:
    retriever = bank.retriever(options=RetrievalOptions(without=without, deadline_s=60))
    return await retriever.retrieve(workspace, query)


async def skipped_by(bank: SmallBank, query: Query) -> dict[str, str]:
    answer = await retrieved(bank, "w", replace(query, explain=True, min_score=0))
    assert answer.explanation is not None
    assert answer.degraded == ()
    return cast("dict[str, str]", answer.explanation.plan["skipped"])


async def test_who_asks_for_a_name_that_enough_memories_hold_needs_no_meaning(bank: SmallBank) -> None:
    named = await bank.store("w", *(MemoryItem(f"lesson {n}", content=f"call parse_rows({n}) first") for n in range(3)))
    await bank.store("w", *(MemoryItem(f"parse the rows of table {n}") for n in range(20)))
    answer = await retrieved(bank, "w", Query("parse_rows", k=3, min_score=0, explain=True))
    assert sorted(ids_of(answer)) == sorted(named)
    assert answer.path == "none"
    assert (await skipped_by(bank, Query("parse_rows", k=3)))["semantic"] == "3 memories hold the name asked for"
    for query in (Query("parse_rows", k=4), Query("parse_rows parse_columns", k=3), Query("use parse_rows", k=3)):
        assert "semantic" not in await skipped_by(bank, query)


@pytest.mark.parametrize(("name", "text"), [("parse_rows", "use parse_rows for that"), ("appLoader", "appLoader died")])
async def test_a_name_in_the_text_counts_as_held_and_comes_first(bank: SmallBank, name: str, text: str) -> None:
    (held,) = await bank.store("w", MemoryItem(text))
    await bank.store(
        "w", *(MemoryItem(f"{part} number {n}") for n in range(9) for part in ("parse rows", "app loader"))
    )
    answer = await retrieved(bank, "w", Query(name, k=1, min_score=0, explain=True))
    assert ids_of(answer) == [held]
    assert "semantic" in await skipped_by(bank, Query(name, k=1))


async def test_the_parts_of_a_path_are_not_the_path(bank: SmallBank) -> None:
    await bank.store("w", *(MemoryItem(f"look into src number {n}") for n in range(5)))
    assert "semantic" not in await skipped_by(bank, Query("src/app.py", k=3))


async def test_a_name_that_only_filtered_memories_hold_needs_the_meaning(bank: SmallBank) -> None:
    await bank.store("w", *(MemoryItem(f"lesson {n}", content="parse_rows()", tags=("old",)) for n in range(3)))
    await bank.store("w", MemoryItem("how to read rows", tags=("new",)))
    assert "semantic" not in await skipped_by(bank, Query("parse_rows", tags=("new",)))
    assert "semantic" in await skipped_by(bank, Query("parse_rows", tags=("old",)))


async def test_strategies_that_could_find_nothing_are_skipped_and_the_plan_says_why(bank: SmallBank) -> None:
    await bank.store("w", MemoryItem("reindex the table", content="at night"))
    assert await skipped_by(bank, Query("reindex the table")) == {
        "temporal": "the query names no time and asks for none",
        "entity": "no memory holds an identifier of the query",
    }
    assert "keyword" in await skipped_by(bank, Query("quantum chromodynamics"))
    assert "temporal" not in await skipped_by(bank, Query("what was done yesterday?"))


async def test_where_no_memory_passes_the_filters_nothing_runs(bank: SmallBank) -> None:
    await bank.store("w", MemoryItem("reindex the table", domain="data", outcome="failure"))
    for query in (
        Query("table", tags=("absent",)),
        Query("table", domain="shop"),
        Query("table", outcome="success"),
        Query("table", outcome="failure", domain="nobody", tags=("a", "b")),
        Query("table", include_failures=False),
        Query("table", since=datetime(2030, 1, 1, tzinfo=UTC)),
        Query("table", since=datetime(2027, 1, 1, tzinfo=UTC), until=datetime(2025, 1, 1, tzinfo=UTC)),
    ):
        answer = await retrieved(bank, "w", replace(query, explain=True, min_score=0))
        assert answer.memories == ()
        assert (answer.path, answer.degraded, answer.below_floor, answer.context) == ("none", (), 0, "")
        assert answer.explanation is not None
        assert set(cast("dict[str, str]", answer.explanation.plan["skipped"])) == set(STRATEGIES)


@pytest.mark.parametrize("task", ["anything", "parse_rows", "what was done yesterday?", "?!", "😀", "the of and"])
async def test_an_empty_workspace_answers_nothing_to_any_task(bank: SmallBank, task: str) -> None:
    answer = await retrieved(bank, "empty", Query(task, k=5, min_score=0, explain=True))
    assert (answer.memories, answer.path, answer.degraded, answer.context) == ((), "none", (), "")


@pytest.mark.parametrize(
    "phrase",
    [
        "on 99/99/9999",
        "in 0000-00-00",
        "February 31st, 2025",
        "in the year 99999999999999",
        "-5 weeks ago",
        "999999999999999999 days ago",
        "last last last next week ago",
        "between tomorrow and yesterday",
        "since until before after",
        "at 25:61:61 on 2025-13-45T99:99Z",
        "١٢٣ days ago",
        "1e308 years ago",
    ],
)
async def test_a_time_that_makes_no_sense_harms_no_search(bank: SmallBank, phrase: str) -> None:
    ids = await bank.store("w", MemoryItem("reindex the slow table", time="2025-12-30"), MemoryItem("bake bread"))
    for task in (f"reindex the slow table {phrase}", f"{phrase}: which table was slow?"):
        answer = await retrieved(bank, "w", Query(task, min_score=0, explain=True))
        assert answer.degraded == ()
        assert ids_of(answer)[0] == ids[0]
    assert (await retrieved(bank, "w", Query(phrase, min_score=0))).degraded == ()


@pytest.mark.parametrize("k", [3, 50, 10**9])
async def test_more_than_there_is_brings_all_there_is(bank: SmallBank, k: int) -> None:
    ids = await bank.store("w", *(MemoryItem(f"lesson {n} of tables") for n in range(3)))
    answer = await retrieved(bank, "w", Query("tables", k=k, min_score=0))
    assert sorted(ids_of(answer)) == ids


async def test_holders_of_a_name_that_were_shown_already_are_not_enough(bank: SmallBank) -> None:
    held = await bank.store("w", *(MemoryItem(f"lesson {n}", content=f"call parse_rows({n})") for n in range(3)))
    await bank.store("w", *(MemoryItem(f"parse the rows of table {n}") for n in range(9)))
    assert "semantic" not in await skipped_by(bank, Query("parse_rows", k=3, exclude_ids=tuple(held)))
