"""What a line of an import file may say, and what it is told when it says it wrongly."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_bank.errors import InputError
from reasoning_bank.records import Counters, ErrorContext, JsonValue, Links, Memory, MemoryItem, NewTrace, Trace
from reasoning_bank.transfer.exporting import canonical_line, trace_rows
from reasoning_bank.transfer.rows import implied_report, read_row

START = datetime(2026, 1, 1, tzinfo=UTC)


def line(**fields: JsonValue) -> bytes:
    return json.dumps({"id": "r1", "text": "Close the valve"} | fields).encode()


def item_of(data: bytes) -> MemoryItem:
    row = read_row(data, number=1)
    assert row.memory is not None
    return row.memory.item


def test_fields_in_the_metadata_become_fields_of_the_memory() -> None:
    item = item_of(
        line(
            metadata={"workspace": "w", "time": 7, "title": "T", "description": "D", "content": "C", "files": ["a.py"]}
        )
    )
    assert item == MemoryItem(
        text="Close the valve",
        title="T",
        description="D",
        content="C",
        external_id="r1",
        time=7,
        origin="import",
        metadata={"files": ["a.py"]},
    )


def test_fields_in_the_row_go_before_those_in_the_metadata_which_stay_metadata() -> None:
    item = item_of(line(title="mine", metadata={"title": "other"}))
    assert (item.title, item.metadata) == ("mine", {"title": "other"})


def test_unknown_keys_of_a_row_are_kept_as_metadata() -> None:
    assert item_of(line(source_ids=["a"], metadata={"lang": "c"})).metadata == {"source_ids": ["a"], "lang": "c"}


def test_a_session_with_a_turn_groups_rows_and_its_speaker_is_the_actor() -> None:
    row = read_row(line(metadata={"session": 3, "turn": 0, "speaker": "Ann", "workspace": "w"}), number=1)
    assert row.group == ("session", "3")
    assert row.workspace == "w"
    assert row.memory is not None
    item = row.memory.item
    assert (item.session, item.position, item.actor) == ("3", 0, "Ann")


def test_a_session_without_turns_has_no_order_and_stays_metadata() -> None:
    row = read_row(line(metadata={"session": 3}), number=5)
    assert row.group == ("row", "5")
    assert row.memory is not None
    assert (row.memory.item.session, row.memory.item.metadata) == (None, {"session": 3})


def test_a_byte_order_mark_and_windows_line_ends_are_no_part_of_the_row() -> None:
    assert item_of(b"\xef\xbb\xbf" + line() + b"\r\n") == item_of(line())


def test_a_numeric_id_is_its_text() -> None:
    assert item_of(line(id=12)).external_id == "12"


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"{", "not JSON"),
        (b"[1]", "the line must be an object, not a list"),
        (b'{"id": "a", "text": NaN}', "NaN is no number"),
        (b'{"id": "a", "text": "\xff"}', "not UTF-8 at byte 21"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"id": "a", "text": "t", "n": ' + b"1" * 5_000 + b"}", "a number has thousands of digits"),
        (
            line(bank={"id": "m", "counters": {"used": 2**63}}),
            "'used' must be a whole number from 0, not 9223372036854775808",
        ),
        (line(bank={"id": "m", "created_at": "0001-01-01T00:00:00+14:00"}), "'created_at' is before the year 1"),
        (line(valid_to="9999-12-31T23:59:59-01:00"), "'valid_to' is before the year 1 or after 9999"),
        (line(text=" \n"), "'text' is missing or empty"),
        (line(text=None), "'text' is missing or empty"),
        (line(text=5), "'text' must be text, not a number"),
        (line(text="a\x00b"), "'text' holds a NUL character"),
        (line(text="a\ud800b"), "'text' holds a lone surrogate"),
        (line(id=None), "'id' is missing"),
        (line(id=True), "'id' must be text, not true or false"),
        (line(metadata=[]), ""),
        (line(metadata=["a"]), "metadata must be an object, not a list"),
        (line(metadata={"a": {"b\ud800": 1}}), "lone surrogate"),
        (line(metadata={"time": "last May"}), "'time' must be ISO 8601 text or an order number, not 'last May'"),
        (line(metadata={"time": True}), "'time' must be"),
        (line(metadata={"session": "a", "turn": -1}), "'turn' must be a whole number from 0, not -1"),
        (line(metadata={"session": "a", "turn": 1.5}), "'turn' must be a whole number"),
        (line(metadata={"workspace": 5}), "'workspace' must be text"),
        (line(outcome="won"), "'outcome' must be one of success, failure, partial, unknown, not 'won'"),
        (line(outcome=["success"]), "'outcome' must be one of"),
        (line(tags="a"), "'tags' must be a list of texts"),
        (line(tags=[1]), "'tags' must be a list of texts"),
        (line(valid_to="2026-01-01T00:00:00"), "'valid_to' must say its offset from UTC"),
        (line(valid_to="soon"), "'valid_to' must be an ISO 8601 time"),
        (line(lang="c", metadata={"lang": "d"}), "'lang' is in the row and in its metadata"),
        (line(bank={"counters": {"used": -1}}), "'used' must be a whole number from 0"),
        (b'{"trace": {"task": "x"}}', "'trace.id' is missing"),
        (b'{"trace": {"id": "t", "task": ""}}', "'trace.task' is missing or empty"),
        (b'{"trace": 5}', "trace must be an object"),
    ],
)
def test_a_bad_line_says_what_is_wrong(data: bytes, complaint: str) -> None:
    if not complaint:
        assert read_row(data, number=1).memory is not None
        return
    with pytest.raises(InputError) as error:
        read_row(data, number=1)
    assert complaint in str(error.value)


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)
names = texts.filter(lambda text: bool(text.strip()))
moments = st.integers(0, 10**9).map(lambda seconds: START + timedelta(microseconds=seconds))
times: st.SearchStrategy[str | int | float | None] = st.one_of(
    st.none(), texts, st.integers(), st.floats(allow_nan=False, allow_infinity=False)
)
metadata = st.dictionaries(
    st.sampled_from(["session", "turn", "title", "workspace", "time", "bank", "id", "text", "x"]) | texts,
    st.one_of(st.none(), st.booleans(), st.integers(), texts, st.lists(texts, max_size=2)),
    max_size=4,
)
outcomes = st.sampled_from(["success", "failure", "partial", "unknown"])
items = st.builds(
    MemoryItem,
    text=names,
    title=texts,
    description=texts,
    content=texts,
    external_id=st.none() | names,
    tags=st.lists(texts, max_size=2).map(tuple),
    domain=st.none() | names,
    difficulty=st.none() | names,
    outcome=outcomes,
    error_context=st.none() | st.builds(ErrorContext, texts, texts, texts),
    session=st.none() | names,
    position=st.none() | st.integers(0, 5),
    actor=st.none() | names,
    time=times,
    origin=st.sampled_from(["client", "rules", "llm", "import"]),
    trust=st.sampled_from(["quarantined", "low", "normal", "trusted"]),
    parents=st.lists(names, max_size=2).map(tuple),
    valid_from=st.none() | moments,
    valid_to=st.none() | moments,
    made_by=st.none() | names,
    metadata=metadata,
)
links = st.builds(
    Links,
    sources=st.lists(names, max_size=2).map(tuple),
    contradicts=st.lists(st.tuples(names, names), max_size=2).map(tuple),
)
memories = st.builds(
    Memory,
    id=names,
    workspace=names,
    trace_id=st.just("t1"),
    item=items,
    counters=st.builds(Counters, *[st.integers(0, 3)] * 4),
    created_at=moments,
    updated_at=moments,
    content_hash=st.just(""),
    superseded_by=st.none() | names,
    deleted_at=st.none() | moments,
    quarantined_for=st.none() | names,
    links=st.none() | links,
)
reports = st.builds(
    NewTrace,
    task=names,
    outcome=outcomes,
    trajectory=st.none() | st.lists(texts, max_size=2) | metadata,
    tags=st.lists(texts, max_size=2).map(tuple),
    domain=st.none() | names,
    external_id=st.none() | names,
    session=st.none() | names,
    actor=st.none() | names,
    time=times,
    metadata=metadata,
)


def normal_external_id(memory: Memory) -> Memory:
    """An external id equal to the bank's own is not told apart from none."""
    own = memory.item.external_id == memory.id
    return replace(memory, item=replace(memory.item, external_id=None)) if own else memory


@settings(max_examples=300, deadline=None)
@given(memory=memories.map(normal_external_id))
def test_a_memory_survives_its_canonical_line(memory: Memory) -> None:
    trace = Trace("t1", memory.workspace, implied_report([memory.item]), memory.created_at, "")
    rows = list(trace_rows(trace, [memory]))
    assert len(rows) == 1
    row = read_row(canonical_line(rows[0]), number=1)
    assert row.memory is not None
    read = row.memory
    assert (row.workspace, row.group, row.trace) == (memory.workspace, ("trace", "t1"), None)
    assert read.item == memory.item
    assert (read.id, read.counters, read.created_at) == (memory.id, memory.counters, memory.created_at)
    assert (read.superseded_by, read.deleted_at) == (memory.superseded_by, memory.deleted_at)
    assert (read.updated_at or memory.created_at) == memory.updated_at
    assert (read.quarantined_for, read.links) == (memory.quarantined_for, memory.links or Links())


@settings(max_examples=200, deadline=None)
@given(report=reports, created_at=moments)
def test_a_trace_that_its_memories_do_not_imply_survives_its_own_line(report: NewTrace, created_at: datetime) -> None:
    first, *rest = trace_rows(Trace("t1", "w", report, created_at, ""), [])
    row = read_row(canonical_line(first), number=1)
    assert not rest
    assert row.trace is not None
    assert (row.workspace, row.trace.id, row.trace.created_at, row.trace.report) == ("w", "t1", created_at, report)


def test_turns_of_one_session_imply_a_trace_without_a_line_of_its_own() -> None:
    turns: Sequence[Memory] = [
        Memory(f"m{n}", "w", "t1", MemoryItem(f"turn {n}", session="s", position=n), Counters(), START, START, "")
        for n in range(3)
    ]
    report = NewTrace(task="turn 0", session="s")
    rows = list(trace_rows(Trace("t1", "w", report, START, ""), turns))
    assert [row.get("id") for row in rows] == ["m0", "m1", "m2"]
