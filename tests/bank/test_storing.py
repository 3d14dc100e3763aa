"""What `store_trace` promises: durable, idempotent, admitted as a whole or not at all."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from reasoning_bank.bank import ReasoningBank
from reasoning_bank.errors import InputError, NotFoundError
from reasoning_bank.records import ErrorContext, MemoryItem, NewTrace, Query
from reasoning_bank.settings import Settings

TASK = "Make the login test stop failing at midnight"
STEPS = [
    {"thought": "the test reads the wall clock", "action": "pytest tests/test_login.py",
     "observation": "FAILED tests/test_login.py::test_expiry - AssertionError: token expired"},
    {"action": "edit auth.py: pass a clock into Session", "observation": "saved"},
    {"action": "pytest tests/test_login.py", "observation": "1 passed in 0.12s"},
]  # fmt: skip
TRACE = NewTrace(task=TASK, outcome="success", trajectory=json.loads(json.dumps(STEPS)))
LESSON = MemoryItem(
    text="",
    title="Inject a clock into time-dependent code",
    description="When a test depends on the time of day.",
    content="Pass a clock function into the code and hold it still in a test: then expiry never depends on real time.",
)
SECRET = "sk-proj-" + "Ab3dEf6hIj9kLm2nOp5qRs8tUv1wXy4zAb3dEf6h"


async def test_the_same_call_again_returns_the_same_ids_and_stores_nothing(bank: ReasoningBank) -> None:
    first = await bank.store_trace("w", TRACE)
    second = await bank.store_trace("w", TRACE)
    assert second == replace(first, replayed=True)
    assert (await bank.stats("w"))["traces"] == 1


async def test_a_key_finds_its_call_and_refuses_another_one(bank: ReasoningBank) -> None:
    first = await bank.store_trace("w", TRACE, idempotency_key="k1")
    again = await bank.store_trace("w", TRACE, idempotency_key="k1")
    assert again.trace_id == first.trace_id
    with pytest.raises(InputError, match="'k1' belongs to another task"):
        await bank.store_trace("w", replace(TRACE, task="Something else entirely"), idempotency_key="k1")
    elsewhere = await bank.store_trace("v", TRACE, idempotency_key="k1")
    assert elsewhere.trace_id != first.trace_id


async def test_the_assistants_memories_replace_those_of_the_rules(bank: ReasoningBank) -> None:
    asked = await bank.store_trace("w", TRACE)
    assert asked.distillation == "rules"
    assert asked.distil_request is not None
    by_rules = [memory.id for memory in asked.memories if memory.id]
    told = await bank.store_trace("w", TRACE, memories=[LESSON], idempotency_key=asked.idempotency_key)
    assert (told.trace_id, told.distillation, told.memories[0].action) == (asked.trace_id, "client", "created")
    own = told.memories[0].id
    assert own is not None
    assert (await bank.genealogy("w", own)).supersedes == tuple(by_rules)
    found = await bank.retrieve("w", Query(TASK, k=10, min_score=0))
    assert [retrieved.memory.id for retrieved in found.memories] == [own]
    replay = await bank.store_trace("w", TRACE, memories=[LESSON], idempotency_key=asked.idempotency_key)
    assert replay == replace(told, replayed=True)
    other = replace(LESSON, title="Another title altogether")
    with pytest.raises(InputError, match="already has other memories"):
        await bank.store_trace("w", TRACE, memories=[other], idempotency_key=asked.idempotency_key)


async def test_an_identical_memory_is_merged_into_the_one_that_is_there(bank: ReasoningBank) -> None:
    first = await bank.store_trace("w", TRACE, memories=[LESSON])
    second = await bank.store_trace("w", replace(TRACE, tags=("again",)), memories=[LESSON])
    assert second.trace_id != first.trace_id
    assert [(memory.action, memory.id) for memory in second.memories] == [("merged", first.memories[0].id)]
    assert second.memories[0].reason


async def test_own_memories_do_not_hide_what_another_trace_has_learned(bank: ReasoningBank) -> None:
    first = await bank.store_trace("w", TRACE)
    asked = await bank.store_trace("w", replace(TRACE, tags=("again",)))
    shared = {memory.id for memory in first.memories}
    assert {(memory.action, memory.id) for memory in asked.memories} == {("merged", id_) for id_ in shared}
    again = replace(TRACE, tags=("again",))
    told = await bank.store_trace("w", again, memories=[LESSON], idempotency_key=asked.idempotency_key)
    found = await bank.retrieve("w", Query(TASK, k=10, min_score=0))
    assert {retrieved.memory.id for retrieved in found.memories} == shared | {told.memories[0].id}


async def test_a_memory_that_names_no_outcome_has_that_of_its_trace(bank: ReasoningBank) -> None:
    failed = replace(LESSON, title="Never sleep in a test", outcome="failure")
    stored = await bank.store_trace("w", TRACE, memories=[LESSON, failed])
    details = await bank.get_memories("w", [memory.id or "" for memory in stored.memories])
    assert [detail.memory.item.outcome for detail in details] == ["success", "failure"]


async def test_junk_is_rejected_with_a_reason_and_the_trace_is_kept(bank: ReasoningBank) -> None:
    junk = replace(LESSON, content="It worked.", description="")
    result = await bank.store_trace("w", TRACE, memories=[junk, LESSON])
    assert [memory.action for memory in result.memories] == ["created", "rejected"]
    assert result.memories[1].reason
    assert (await bank.get_trace("w", result.trace_id)).report == TRACE


async def test_a_key_stays_open_while_nothing_of_the_assistants_own_passed(bank: ReasoningBank) -> None:
    asked = await bank.store_trace("w", TRACE)
    junk = replace(LESSON, content="It worked.", description="")
    for drafts in ([], [junk]):
        told = await bank.store_trace("w", TRACE, memories=drafts, idempotency_key=asked.idempotency_key)
        assert (told.trace_id, told.distillation) == (asked.trace_id, "rules")
        assert told.memories[: len(asked.memories)] == asked.memories
    better = await bank.store_trace("w", TRACE, memories=[LESSON], idempotency_key=asked.idempotency_key)
    assert (better.distillation, better.memories[0].action) == ("client", "created")


async def test_more_than_five_memories_are_refused_and_nothing_is_stored(bank: ReasoningBank) -> None:
    with pytest.raises(InputError, match="6 memories, the limit is 5"):
        await bank.store_trace("w", TRACE, memories=[LESSON] * 6)
    assert (await bank.stats("w"))["traces"] == 0


async def test_no_secret_reaches_the_disk_through_any_field(bank: ReasoningBank, data_dir: Path) -> None:
    trace = replace(
        TRACE,
        task=f"{TASK} with {SECRET}",
        trajectory=[{SECRET: f"export OPENAI_API_KEY={SECRET}"}],
        tags=("ci", SECRET),
        metadata={"env": {"key": SECRET}},
    )
    lesson = replace(LESSON, content=f"{LESSON.content} The key was {SECRET}.", tags=(SECRET,))
    failed = replace(lesson, outcome="failure", error_context=ErrorContext("AuthError", SECRET, f"rotate {SECRET}"))
    result = await bank.store_trace("w", trace, memories=[lesson, failed])
    await bank.rate("w", [result.memories[0].id or ""], "helped", note=f"used {SECRET}")
    for path in data_dir.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path
    detail = (await bank.get_memories("w", [result.memories[0].id or ""]))[0]
    assert "[REDACTED:" in detail.memory.item.content


async def test_a_blocking_bank_refuses_a_secret_by_its_kind(settings: Settings) -> None:
    blocking = settings.model_copy(update={"privacy": settings.privacy.model_copy(update={"mode": "block"})})
    async with ReasoningBank(blocking) as bank:
        with pytest.raises(InputError) as refused:
            await bank.store_trace("w", replace(TRACE, task=f"use {SECRET}"))
        assert SECRET not in str(refused.value)
        assert (await bank.stats("w"))["traces"] == 0


async def test_a_workspace_may_be_stricter_than_the_setting(bank: ReasoningBank) -> None:
    await bank.upkeep.set_privacy("payments", "block")
    with pytest.raises(InputError):
        await bank.store_trace("payments", replace(TRACE, task=f"use {SECRET}"))
    await bank.store_trace("w", replace(TRACE, task=f"use {SECRET}"))
    await bank.upkeep.set_privacy("payments", None)
    kept = await bank.store_trace("payments", replace(TRACE, task=f"use {SECRET}"))
    assert SECRET not in (await bank.get_trace("payments", kept.trace_id)).report.task


@pytest.mark.parametrize(
    ("trace", "said"),
    [
        (NewTrace(task=" \n"), "task is empty"),
        (NewTrace(task="a\x00b"), "NUL"),
        (NewTrace(task="a\ud800b"), "surrogate"),
        (NewTrace(task="é" * 40_000), "task is 80000 bytes, the limit is 65536"),
        (NewTrace(task="t", trajectory="x" * 4_200_000), "trajectory is 4200000 bytes"),
        (NewTrace(task="t", trajectory=[float("inf")]), "finite"),
        (NewTrace(task="t", tags=tuple(map(str, range(10_000)))), "10000 tags, the limit is 32"),
        (NewTrace(task="t", tags=("x" * 101,)), "a tag has 101 characters"),
        (NewTrace(task="t", metadata={"k": "v" * 70_000}), "metadata is"),
        (NewTrace(task="t", domain="d" * 501), "domain has 501 characters"),
    ],
)
async def test_what_cannot_be_kept_is_refused_with_what_to_send(
    bank: ReasoningBank, trace: NewTrace, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        await bank.store_trace("w", trace)
    assert (await bank.stats("w"))["traces"] == 0


@pytest.mark.parametrize("name", ["", "  ", "w" * 201, "a\x00"])
async def test_a_workspace_needs_a_sound_name(bank: ReasoningBank, name: str) -> None:
    with pytest.raises(InputError):
        await bank.store_trace(name, TRACE)


async def test_a_cancelled_call_is_stored_whole_or_not_at_all(bank: ReasoningBank) -> None:
    started = [asyncio.create_task(bank.store_trace("w", replace(TRACE, domain=f"d{n}"))) for n in range(20)]
    await asyncio.sleep(0)
    for task in started[::2]:
        task.cancel()
    ended = await asyncio.gather(*started, return_exceptions=True)
    kept = {result.trace_id for result in ended if not isinstance(result, BaseException)}
    assert len(kept) >= 10
    for trace_id in kept:
        assert (await bank.get_trace("w", trace_id)).report.task == TASK
    again = [await bank.store_trace("w", replace(TRACE, domain=f"d{n}")) for n in range(20)]
    assert kept <= {result.trace_id for result in again}
    assert (await bank.stats("w"))["traces"] == 20


async def test_new_words_are_found_and_old_ones_are_not(bank: ReasoningBank) -> None:
    stored = await bank.store_trace("w", TRACE, memories=[LESSON])
    memory_id = stored.memories[0].id or ""
    await bank.wait_until_searchable(timeout_s=5)
    changed = await bank.update_memory(
        "w", memory_id, {"title": "Freeze gizmotrons", "tags": ["gizmo"], "error_context": {"error_type": "X"}}
    )
    assert (changed.item.title, changed.item.tags, changed.item.content) == (
        "Freeze gizmotrons",
        ("gizmo",),
        LESSON.content,
    )
    await bank.wait_until_searchable(timeout_s=5)
    found = await bank.retrieve("w", Query("gizmotrons", min_score=0))
    assert found.memories[0].memory.item.title == "Freeze gizmotrons"
    with pytest.raises(InputError, match="cannot change owner"):
        await bank.update_memory("w", memory_id, {"owner": "me"})


async def test_a_forgotten_memory_is_not_found_until_it_is_brought_back(bank: ReasoningBank) -> None:
    stored = await bank.store_trace("w", TRACE, memories=[LESSON])
    memory_id = stored.memories[0].id or ""
    forgotten = await bank.forget_memory("w", memory_id)
    assert forgotten.deleted_at is not None
    assert not (await bank.retrieve("w", Query(TASK, min_score=0))).memories
    back = await bank.forget_memory("w", memory_id, undo=True)
    assert back.deleted_at is None
    await bank.wait_until_searchable(timeout_s=5)
    assert (await bank.retrieve("w", Query(TASK, min_score=0))).memories[0].memory.id == memory_id


async def test_another_workspaces_ids_do_not_exist(bank: ReasoningBank) -> None:
    stored = await bank.store_trace("mine", TRACE, memories=[LESSON])
    memory_id = stored.memories[0].id or ""
    with pytest.raises(NotFoundError):
        await bank.get_memories("yours", [memory_id])
    with pytest.raises(NotFoundError):
        await bank.get_trace("yours", stored.trace_id)
    with pytest.raises(NotFoundError):
        await bank.genealogy("yours", memory_id)
    with pytest.raises(NotFoundError):
        await bank.rate("yours", [memory_id], "misled")
    with pytest.raises(NotFoundError):
        await bank.update_memory("yours", memory_id, {"title": "stolen"})
    with pytest.raises(NotFoundError):
        await bank.forget_memory("yours", memory_id)
    assert not (await bank.retrieve("yours", Query(TASK, min_score=0))).memories
