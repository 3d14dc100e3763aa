from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection

from reasoning_bank.errors import InputError, ModelUnavailableError
from reasoning_bank.records import ErrorContext, Memory, MemoryItem, Query
from reasoning_bank.retrieval.meaning import QueryModel
from reasoning_bank.storage import feedback, memories
from reasoning_bank.text.analyser import analyse
from reasoning_bank.text.fields import content_hash
from tests.retrieval.bank import PATIENT, START, SmallBank, found, ids_of

DATABASE = MemoryItem("Reindex the orders table after a bulk insert", title="Reindex", content="Run REINDEX at night")
COOKING = MemoryItem("Bake sourdough bread with a long fermentation", content="Keep the dough at 24 degrees")
LOGIN = MemoryItem("Fix the login timeout of the web client", outcome="failure", content="Do not raise the timeout")


async def test_the_memory_that_fits_comes_first(bank: SmallBank) -> None:
    ids = await bank.store("w", DATABASE, COOKING, LOGIN)
    retrieval = await bank.retriever().retrieve("w", Query("reindex the orders table", min_score=0))
    assert ids_of(retrieval)[0] == ids[0]
    assert retrieval.degraded == ()
    assert retrieval.path == "exact"
    assert {"embedding", "refresh", "keyword", "semantic", "fusion", "reading", "context", "total"} <= set(
        retrieval.timings_ms
    )


async def test_nothing_relevant_is_said_and_counted(bank: SmallBank) -> None:
    await bank.store("w", DATABASE, COOKING, LOGIN)
    retrieval = await bank.retriever().retrieve("w", Query("quantum chromodynamics lattice", k=2))
    assert retrieval.memories == ()
    assert retrieval.context == ""
    assert retrieval.below_floor == 2


async def test_a_workspace_that_was_not_watched_is_read_anew(bank: SmallBank) -> None:
    (changed,) = await bank.store("w", DATABASE)
    await bank.store("v", COOKING)
    retriever = bank.retriever(options=replace(PATIENT, workspaces=1))
    await found(retriever, "w", Query("reindex", min_score=0))
    await found(retriever, "v", Query("bread", min_score=0))
    item = replace(DATABASE, title="Reindex twice")

    def change(connection: Connection) -> None:
        memory = memories.by_ids(connection, "w", [changed])[changed]
        memories.update(connection, replace(memory, item=item, content_hash=content_hash(item)), analyse(item))

    await bank.database.write(change)
    (retrieved,) = (await retriever.retrieve("w", Query("reindex", min_score=0))).memories
    assert retrieved.memory.item.title == "Reindex twice"


async def test_an_empty_workspace_answers_nothing(bank: SmallBank) -> None:
    retrieval = await bank.retriever().retrieve("nobody", Query("anything"))
    assert retrieval.memories == ()
    assert retrieval.below_floor == 0
    assert retrieval.path == "none"


async def test_many_copies_do_not_hide_the_others(bank: SmallBank) -> None:
    copies = [MemoryItem("ok, thanks for the login fix")] * 60
    ids = await bank.store("w", *copies, DATABASE, COOKING, LOGIN)
    retrieved = await found(bank.retriever(), "w", Query("ok, thanks for the login fix", k=4, min_score=0))
    assert retrieved[0] == ids[0]
    assert sorted(retrieved[1:]) == sorted(ids[-3:])


@pytest.mark.timeout(60)  # a look-up for each took seconds
async def test_a_flood_of_tags_costs_no_more_than_a_memory_may_have(bank: SmallBank) -> None:
    await bank.store("w", replace(DATABASE, tags=("sql",)))
    tags = ("sql",) * 100_000 + tuple(f"t{number}" for number in range(100_000))
    retrieval = await bank.retriever().retrieve("w", Query("reindex", tags=tags, min_score=0))
    assert retrieval.memories == ()


async def test_no_more_than_k_and_no_fewer_than_there_are(bank: SmallBank) -> None:
    await bank.store("w", DATABASE, COOKING, LOGIN)
    retriever = bank.retriever()
    assert len(await found(retriever, "w", Query("the login", k=2, min_score=0))) == 2
    assert len(await found(retriever, "w", Query("the login", k=10**9, min_score=0))) == 3


@pytest.mark.parametrize(
    "query", [Query(" \n"), Query("x", k=0), Query("x", k=-1), Query("x", min_score=1.5), Query("x", min_score=-0.1)]
)
async def test_a_query_that_asks_nothing_is_refused(bank: SmallBank, query: Query) -> None:
    with pytest.raises(InputError):
        await bank.retriever().retrieve("w", query)


@pytest.mark.parametrize("task", ['" OR 1=1 --', "NEAR(", "*", "???", "的", "🙂", "a" * 60_000, "\n\n x \n\n"])
async def test_any_text_can_be_asked(bank: SmallBank, task: str) -> None:
    await bank.store("w", DATABASE)
    assert len((await bank.retriever().retrieve("w", Query(task, min_score=0))).memories) == 1


async def test_no_workspace_sees_another(bank: SmallBank) -> None:
    await bank.store("a", DATABASE, COOKING)
    mine = await bank.store("b", LOGIN)
    retriever = bank.retriever()
    for _ in range(2):
        assert await found(retriever, "b", Query("reindex the orders table", k=50, min_score=0)) == mine


async def test_a_memory_not_yet_embedded_is_found_by_its_words(bank: SmallBank) -> None:
    await bank.store("w", COOKING, LOGIN)
    retriever = bank.retriever()
    await retriever.warm("w")
    (pending,) = await bank.store("w", DATABASE, embed=False)
    retrieval = await retriever.retrieve("w", Query("reindex the orders table after a bulk insert"))
    assert ids_of(retrieval) == [pending]
    await bank.embed("w", pending)
    assert await found(retriever, "w", Query("reindex the orders table after a bulk insert")) == [pending]


async def test_without_a_model_words_answer_and_the_answer_says_so(bank: SmallBank) -> None:
    ids = await bank.store("w", DATABASE, COOKING)
    retrieval = await bank.retriever(with_model=False).retrieve("w", Query("reindex the orders table"))
    assert ids_of(retrieval) == [ids[0]]
    assert retrieval.degraded == ("semantic",)
    assert retrieval.path == "none"


async def test_while_the_model_loads_words_answer(bank: SmallBank) -> None:
    ids = await bank.store("w", DATABASE, COOKING)
    retriever = bank.retriever()
    bank.ready = False
    retrieval = await retriever.retrieve("w", Query("reindex the orders table"))
    assert (ids_of(retrieval), retrieval.degraded) == ([ids[0]], ("semantic",))
    bank.ready = True
    retrieval = await retriever.retrieve("w", Query("reindex the orders table"))
    assert (ids_of(retrieval)[0], retrieval.degraded) == (ids[0], ())


async def test_a_model_that_fails_degrades_the_answer(bank: SmallBank) -> None:
    ids = await bank.store("w", DATABASE, COOKING)

    async def ready(_: float) -> bool:
        return True

    async def fails(_: object) -> object:
        raise ModelUnavailableError("gone")

    retriever = bank.retriever()
    broken = QueryModel(bank.model().space, ready, fails)  # pyright: ignore[reportArgumentType] -- it never returns
    retriever._model = lambda: broken
    retrieval = await retriever.retrieve("w", Query("reindex the orders table"))
    assert (ids_of(retrieval), retrieval.degraded) == ([ids[0]], ("semantic",))


async def test_what_another_process_stores_changes_and_forgets_is_seen_at_once(bank: SmallBank) -> None:
    (first,) = await bank.store("w", DATABASE)
    retriever, query = bank.retriever(), Query("reindex the orders table", min_score=0, k=5)
    assert await found(retriever, "w", query) == [first]
    (second,) = await bank.store("w", replace(DATABASE, content="Use CONCURRENTLY"))
    assert set(await found(retriever, "w", query)) == {first, second}
    await bank.database.write(lambda connection: memories.soft_delete(connection, "w", [first], START))
    assert await found(retriever, "w", query) == [second]
    await bank.database.write(lambda connection: memories.undelete(connection, "w", [first], START))
    assert set(await found(retriever, "w", query)) == {first, second}
    await bank.database.write(lambda connection: memories.supersede(connection, "w", [first], second, START))
    assert await found(retriever, "w", query) == [second]


async def test_a_changed_memory_is_found_by_its_new_words_and_shown_as_it_is(bank: SmallBank) -> None:
    (first,) = await bank.store("w", DATABASE)
    retriever = bank.retriever()
    before = await retriever.retrieve("w", Query("reindex", min_score=0))
    changed = _with_item(before.memories[0].memory, COOKING)
    await bank.database.write(lambda connection: memories.update(connection, changed, analyse(COOKING)))
    after = await retriever.retrieve("w", Query("sourdough bread with a long fermentation"))
    assert ids_of(after) == [first]
    assert after.memories[0].memory.item == COOKING


async def test_counters_in_an_answer_are_current(bank: SmallBank) -> None:
    (first,) = await bank.store("w", DATABASE)
    retriever, query = bank.retriever(), Query("reindex", min_score=0)
    assert (await retriever.retrieve("w", query)).memories[0].memory.counters.helped == 0
    await bank.database.write(lambda connection: feedback.add(connection, "w", [first], "helped", now=START))
    assert (await retriever.retrieve("w", query)).memories[0].memory.counters.helped == 1


async def test_what_is_quarantined_changes_no_number_of_another_memory(bank: SmallBank) -> None:
    """A flood of quarantined memories would else make their words look common, and crowd the places of an index."""
    told = [MemoryItem(f"rotate the {what} password") for what in ("database", "mail", "router")]
    flood = [MemoryItem(f"rotate the database password now {n}", trust="quarantined") for n in range(20)]
    alone, beside = await bank.store("alone", *told), await bank.store("beside", *told, *flood)
    query = Query("rotate the database password", min_score=0, k=9, explain=True)
    retriever = bank.retriever()
    clean, flooded = await retriever.retrieve("alone", query), await retriever.retrieve("beside", query)
    assert [alone.index(each) for each in ids_of(clean)] == [beside.index(each) for each in ids_of(flooded)]
    assert [each.score for each in clean.memories] == [each.score for each in flooded.memories]
    assert clean.explanation is not None
    assert flooded.explanation is not None
    assert [each.fused for each in clean.explanation.considered] == [
        each.fused for each in flooded.explanation.considered
    ]
    assert flooded.explanation.plan["candidates"] == len(told)


async def test_copies_are_given_once(bank: SmallBank) -> None:
    ids = await bank.store("w", *[DATABASE] * 5, COOKING)
    retrieval = await bank.retriever().retrieve("w", Query("reindex the orders table", k=2, min_score=0))
    assert ids_of(retrieval) == [ids[0], ids[5]]


async def test_excluded_memories_make_room_for_others(bank: SmallBank) -> None:
    ids = await bank.store("w", DATABASE, COOKING, LOGIN)
    query = Query("reindex the orders table", k=2, min_score=0, exclude_ids=(ids[0], "unknown"))
    assert set(await found(bank.retriever(), "w", query)) == {ids[1], ids[2]}


async def test_filters_limit_what_is_found(bank: SmallBank) -> None:
    early, late = "2024-05-01T00:00:00Z", "2025-05-01T00:00:00Z"
    one = replace(DATABASE, tags=("SQL", "night"), domain="Data", outcome="success", time=early)
    two = replace(LOGIN, tags=("web",), domain="web", time=late)
    ids = await bank.store("w", one, two)
    retriever, base = bank.retriever(), Query("the timeout table", k=9, min_score=0)
    may = datetime(2025, 1, 1, tzinfo=UTC)
    for changes, expected in [
        ({"tags": ("sql",)}, [ids[0]]),
        ({"tags": ("sql", "night")}, [ids[0]]),
        ({"tags": ("sql", "web")}, []),
        ({"domain": "data"}, [ids[0]]),
        ({"domain": "other"}, []),
        ({"outcome": "failure"}, [ids[1]]),
        ({"outcome": "success"}, [ids[0]]),
        ({"include_failures": False}, [ids[0]]),
        ({"since": may}, [ids[1]]),
        ({"until": may}, [ids[0]]),
    ]:
        assert await found(retriever, "w", replace(base, **changes)) == expected, changes


async def test_a_memory_is_found_only_while_it_is_valid(bank: SmallBank) -> None:
    item = replace(DATABASE, valid_from=START + timedelta(days=1), valid_to=START + timedelta(days=2))
    (first,) = await bank.store("w", item)
    query = Query("reindex", min_score=0)
    for days, expected in [(0.5, []), (1, [first]), (1.5, [first]), (2, [])]:
        moment = START + timedelta(days=days)
        assert await found(bank.retriever(now=lambda moment=moment: moment), "w", query) == expected


async def test_a_lesson_from_a_failure_comes_with_a_warning(bank: SmallBank) -> None:
    context = ErrorContext("TimeoutError", "the client gave up", "retry with backoff")
    await bank.store("w", replace(LOGIN, error_context=context))
    retrieval = await bank.retriever().retrieve("w", Query("fix the login timeout of the web client"))
    assert retrieval.memories[0].warning == "This failed before (the client gave up); instead: retry with backoff."
    assert "Warning: This failed before" in retrieval.context


async def test_neighbours_in_a_session_are_lifted(bank: SmallBank) -> None:
    turns = ["Which paint do you use?", "Mostly watercolour.", "Fine weather today.", "Indeed.", "See you."]
    items = [MemoryItem(text, session="s", position=place) for place, text in enumerate(turns)]
    ids = await bank.store("w", *items)
    others = [replace(item, session=None, position=None) for item in items]
    await bank.store("alone", *others)
    together = await found(bank.retriever(), "w", Query("which paint do you use", k=5, min_score=0))
    assert together[:2] == [ids[1], ids[0]]  # the answer, and the question that led to it


async def test_a_title_mentioned_by_the_best_hit_is_followed(bank: SmallBank) -> None:
    hub = MemoryItem("The release checklist says to read Deployment Freeze before friday", title="Release checklist")
    linked = MemoryItem("No changes between noon and monday morning", title="Deployment Freeze")
    noise = [MemoryItem(f"Note number {number} on gardening and tulips") for number in range(20)]
    ids = await bank.store("w", *noise, hub, linked)
    assert await found(bank.retriever(), "w", Query("release checklist", k=2, min_score=0)) == ids[-2:]


async def test_a_cache_changes_no_answer(bank: SmallBank) -> None:
    await bank.store("w", DATABASE, COOKING, LOGIN)
    cached, uncached = bank.retriever(), bank.retriever(cache_size=0)
    for _ in range(3):
        for task in ("reindex the table", "login timeout", "bread"):
            query = Query(task, min_score=0)
            with_cache, without = await cached.retrieve("w", query), await uncached.retrieve("w", query)
            assert (with_cache.memories, with_cache.context) == (without.memories, without.context)


async def test_terms_of_an_older_analyser_are_made_anew(bank: SmallBank) -> None:
    (first,) = await bank.store("w", DATABASE)

    def age(connection: Connection) -> None:
        connection.exec_driver_sql("UPDATE memory_terms SET analyser_version = 0, terms = zeroblob(36)")

    await bank.database.write(age)
    assert await found(bank.retriever(with_model=False), "w", Query("reindex the orders table")) == [first]


def _with_item(memory: Memory, item: MemoryItem) -> Memory:
    return replace(memory, item=item, content_hash=content_hash(item))
