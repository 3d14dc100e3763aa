import json
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_bank.learning.distil import MAX_ITEMS, distil, found_by, task_title
from reasoning_bank.learning.gate import Refusal, evidence_of, refusal
from reasoning_bank.learning.literals import generalised
from reasoning_bank.records import JsonValue, MemoryItem, NewTrace, Outcome
from tests.learning.runs import CANCEL, DISK, PATCH, ROUNDING, RUNS, STORY, TIMEOUT


def refused(item: MemoryItem, report: NewTrace) -> Refusal | None:
    return refusal(item, evidence_of([report]))


QUOTED = re.compile(r"`([^`\n]+)`")


def words_of(value: JsonValue) -> str:
    """All text of a trajectory, as it stands and as JSON."""
    if isinstance(value, dict):
        return " ".join([*value, *map(words_of, value.values()), json.dumps(value)])
    if isinstance(value, list):
        return " ".join(map(words_of, value))
    return str(value)


def kept(report: NewTrace) -> list[MemoryItem]:
    return [item for item in distil(report) if refused(item, report) is None]


@pytest.mark.parametrize("name", RUNS)
def test_every_run_gives_one_to_three_items_that_pass_the_gate(name: str) -> None:
    items = distil(RUNS[name])
    assert 1 <= len(items) <= MAX_ITEMS
    assert [refused(item, RUNS[name]) for item in items] == [None] * len(items)
    assert [item.position for item in items] == list(range(len(items)))
    assert {(item.origin, item.outcome) for item in items} == {("rules", RUNS[name].outcome)}


@pytest.mark.parametrize("name", RUNS)
def test_every_quoted_word_was_said_in_the_trace(name: str) -> None:
    report = RUNS[name]
    said = f"{report.task} {words_of(report.trajectory)}".replace("`", "'")
    for item in distil(report):
        for quote in QUOTED.findall(f"{item.title}\n{item.description}\n{item.content}"):
            assert all(word in said or word == "…" for word in quote.split()), quote


def test_a_success_says_why_what_and_how_it_was_checked() -> None:
    item = distil(RUNS["rounding"])[0]
    assert item.title == "Duration loses precision when serialized"
    assert item.content.startswith("The root cause is that `_serialize` uses `int(value / unit)`")
    assert "`src/clock/fields.py` in `class Duration(Field):`" in item.content
    assert "+        return round(value.total_seconds() / unit.total_seconds())" in item.content
    assert item.content.endswith("Checked by `pytest tests/test_fields.py`.")
    assert item.error_context is None
    assert item.text.startswith("Title: Duration loses precision")


def test_an_error_that_was_overcome_becomes_its_own_item_found_by_the_error() -> None:
    main, fix = distil(RUNS["disk"])
    assert "pip cache purge" in main.content
    assert fix.title == "ERROR: No space left on device"
    assert "Resolved by `pip cache purge`, then `pip install torch --index-url" in fix.content
    assert fix.error_context is not None
    assert fix.error_context.failure_pattern == "ERROR: No space left on device"
    assert fix.error_context.corrective_guidance.startswith("Resolved by `pip cache purge`")
    assert fix.text.startswith("ERROR: No space left on device\n")


def test_an_error_shown_while_looking_at_a_file_is_no_error() -> None:
    assert not any("example in the file" in item.content for item in distil(RUNS["rounding"]))


def test_a_failure_becomes_a_warning_with_its_error_context() -> None:
    item = distil(RUNS["timeout"])[0]
    assert item.error_context is not None
    assert item.error_context.error_type == "TimeoutError"
    assert item.error_context.failure_pattern == "TimeoutError: request took longer than 600 s"
    assert "should have checked the fixture" in item.error_context.corrective_guidance
    assert "Tried without success:" in item.content
    assert "`edit config.py timeout=600`" in item.content
    assert item.outcome == "failure"
    assert item.title.startswith("Failed (TimeoutError): ")


def test_a_failure_that_was_only_reported_back_is_no_step_that_was_tried() -> None:
    turns: list[JsonValue] = [
        {"role": "assistant", "content": "Running the migration."},
        {"role": "tool", "content": "OperationalError: canceling statement due to lock timeout\nexit code 1"},
    ]
    (item,) = distil(NewTrace("Add an index on orders", outcome="failure", trajectory=turns))
    assert "lock timeout" in item.content
    assert "Tried" not in item.content


@pytest.mark.parametrize(
    ("story", "kind"),
    [
        (
            "The upload failed with ConnectionResetError after 2 GB; chunks of 8 MB would have worked.",
            "ConnectionResetError",
        ),
        ("The payment API answered HTTP 409 because the order was already paid.", "HTTP 409"),
        ("The form could not be submitted since the captcha appeared each time.", "unresolved"),
    ],
)
def test_a_failure_told_in_words_has_an_error_context_too(story: str, kind: str) -> None:
    (item,) = kept(NewTrace("Send the report", "failure", story))
    assert item.error_context is not None
    assert item.error_context.error_type == kind
    assert item.error_context.failure_pattern
    assert story in item.content


@pytest.mark.parametrize("outcome", ["success", "failure", "partial", "unknown"])
@pytest.mark.parametrize(
    "trajectory",
    [
        "done",
        "ok",
        "I fixed the issue successfully.",
        "Task completed successfully!",
        "The task was completed and everything works fine now.",
        "It did not work.",
        "no idea",
        ["done"],
        [{"role": "user", "content": "please fix it"}],
        [{"role": "system", "content": "You are a helpful assistant."}],
        [{"thought": "Let me look at the file.", "action": "ls", "observation": "a b c"}],
        [{"role": "assistant", "content": "Hello! How can I help you today?"}],
        [{"action": "", "observation": ""}],
    ],
)
def test_a_trace_that_teaches_nothing_gives_nothing(trajectory: JsonValue, outcome: Outcome) -> None:
    assert kept(NewTrace("Fix the login of the shop", outcome, trajectory)) == []


@pytest.mark.parametrize("trajectory", [None, "", "{}", "[]", {}, []])
def test_a_task_reported_without_a_run_gives_the_fact_that_it_was_tried(trajectory: JsonValue) -> None:
    (solved,) = kept(NewTrace("Fix the login of the shop", "success", trajectory))
    assert solved.title == "Fix the login of the shop"
    assert solved.description == "Solved before, so it can be done as asked; the run was not reported."
    assert solved.content == ""
    (failed,) = kept(NewTrace("Fix the login of the shop", "failure", trajectory))
    assert failed.error_context is not None
    assert failed.error_context.corrective_guidance
    assert kept(NewTrace("Fix the login of the shop", "unknown", trajectory)) == []


def test_a_title_names_no_thing_of_one_task_only() -> None:
    task = "Return order #W6619432 of james.li4495@example.com from 2026-01-02T10:00:00Z, see https://shop.example/o/77"
    (item,) = kept(NewTrace(task, "success", "The return needs the original payment method, otherwise it is refused."))
    assert item.title == "Return order … of … from …, see …"
    assert "#W6619432" in item.text


@pytest.mark.parametrize(
    "title",
    [
        "error[E0308]: mismatched types in src/main.rs",
        "Use utf-8-sig instead of utf-8 for CSV that Excel opens",
        "TS2339: Property 'flat' does not exist on type 'number[]'",
        "HTTP 404 from /api/v2/users after upgrading to Django 4.2.7",
        "Mod(x**2, x) is not always 0",
        "numpy 1.26.4 needs setuptools < 60",
        "Set max_tokens to 4,096 rather than 100,000",
    ],
)
def test_names_of_code_errors_and_versions_are_the_lesson_and_stay(title: str) -> None:
    assert task_title(title) == title
    assert generalised(title) == title


def test_an_unreported_outcome_needs_an_explanation_or_a_change() -> None:
    assert kept(NewTrace("Deploy", "unknown", ["Built the image", "Pushed it to the registry"])) == []
    assert kept(NewTrace("Raises KeyError", "unknown", PATCH))
    assert "not reported" in kept(NewTrace("Precision", "unknown", ROUNDING))[0].description


def test_context_of_the_trace_is_carried_over() -> None:
    report = NewTrace("Speed up", "success", STORY, tags=("etl",), domain="import", actor="ada", time="2026-01-02")
    (item,) = distil(report)
    assert (item.tags, item.domain, item.actor, item.time) == (("etl",), "import", "ada", "2026-01-02")


def test_distilling_is_deterministic() -> None:
    assert [distil(report) for report in RUNS.values()] == [distil(report) for report in RUNS.values()]


@pytest.mark.parametrize(
    ("task", "title"),
    [
        ("Title: Save fails\nmore", "Save fails"),
        ("# Save fails on Windows\n\ntext", "Save fails on Windows"),
        ("<!-- template -->\nHello:\nSaving a file fails on Windows", "Saving a file fails on Windows"),
        ("Fix", "Fix"),
        ("修复登录错误", "修复登录错误"),
    ],
)
def test_a_title_is_the_line_that_says_what_it_is_about(task: str, title: str) -> None:
    assert task_title(task) == title
    assert len(task_title("word " * 200)) <= 122


def test_what_a_memory_is_found_by_is_bounded_and_does_not_repeat_the_task() -> None:
    assert found_by("Save fails", "When saving", "Save fails on Windows") == "When saving\nSave fails on Windows"
    assert len(found_by("t", "d", "x" * 9_000)) == 2_000


TEXTS = st.sampled_from(
    [
        "pytest -q",
        "edit a.py",
        "ValueError: bad",
        "because `x_y` is None.",
        "ls",
        "ok 3 passed",
        "",
        "`",
        "HTTP 500",
        "I should use b.",
    ]
)
STEPS = st.fixed_dictionaries(
    {}, optional={"thought": TEXTS, "action": TEXTS, "observation": TEXTS, "exit_code": st.integers(0, 2)}
)
TRAJECTORIES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), TEXTS, st.text(max_size=30), STEPS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5), st.dictionaries(st.sampled_from(["steps", "role", "content", "k"]), inner)
    ),
    max_leaves=20,
)


@settings(deadline=None)
@given(TRAJECTORIES, st.sampled_from(["success", "failure", "partial", "unknown"]))
def test_any_trajectory_gives_bounded_supported_items(trajectory: JsonValue, outcome: Outcome) -> None:
    report = NewTrace("Make the thing work again", outcome, trajectory)
    items = distil(report)
    assert len(items) <= MAX_ITEMS
    for item in items:
        reason = refused(item, report)
        assert reason is None or reason.code != "not supported"
        assert item.text.strip()
        assert item.title.strip()


@pytest.mark.parametrize(
    "trajectory",
    [
        [{"action": f"run {n}", "observation": "ValueError: x" * 300, "exit_code": 1} for n in range(800)],
        "because a.b.c " * 60_000,
        "a." * 400_000,
        [{"thought": "It failed because of x. " * 2_000}] * 20,
        [TIMEOUT, CANCEL, DISK] * 100,
    ],
    ids=["errors", "sentences", "dots", "thoughts", "long run"],
)
def test_long_and_hostile_traces_cost_linear_time(trajectory: JsonValue) -> None:
    started = time.process_time()
    distil(NewTrace("<!--" * 15_000, "failure", trajectory))
    assert time.process_time() - started < 10
