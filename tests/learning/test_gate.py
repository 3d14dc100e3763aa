import json
from dataclasses import replace

import pytest

from reasoning_bank.learning.gate import CONTENT_CHARS, evidence_of, refusal
from reasoning_bank.learning.request import distil_request
from reasoning_bank.records import ErrorContext, MemoryItem, NewTrace

REPORT = NewTrace(
    "Export the sales table to CSV with the right encoding for Excel",
    "success",
    [{"action": "edit export.py encoding='utf-8-sig'", "observation": "saved", "thought": "Excel needs a BOM."}],
)
EVIDENCE = evidence_of([REPORT])
GOOD = MemoryItem(
    text=REPORT.task,
    title="Write CSV for Excel with a BOM",
    description="When a CSV is opened in Excel; not for files that programs read.",
    content="Open the file with encoding `utf-8-sig`: Excel guesses without a BOM and breaks umlauts.",
)


def test_a_useful_memory_passes() -> None:
    assert refusal(GOOD, EVIDENCE) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"content": "", "description": ""}, "no content"),
        ({"content": "Use a BOM."}, "too short"),
        ({"content": "The task was completed successfully and everything works fine now."}, "no content"),
        (
            {"content": "Export the sales table to CSV with the right encoding for Excel.", "description": ""},
            "echo of the task",
        ),
        ({"content": "x " * CONTENT_CHARS}, "over length"),
        ({"title": "t" * 301}, "over length"),
    ],
)
def test_what_is_not_worth_keeping_is_refused_with_the_reason(change: dict[str, str], reason: str) -> None:
    refused = refusal(replace(GOOD, **change), EVIDENCE)
    assert refused is not None
    assert refused.code == reason


@pytest.mark.parametrize(
    "content",
    [
        "Run the migration before the workers start, otherwise they read a table that is not there.",
        "Never ignore the return code of tar; a truncated archive looks like success.",
        "Set `NODE_OPTIONS=--max-old-space-size=4096`: the bundler needs more than the default heap.",
        "The system prompt of the agent has 4,000 tokens; keep examples short so that the task fits.",
        "先运行数据库迁移，然后再启动服务，否则会找不到表。",
        "Ask for the order id first: the lookup by e-mail returns at most one order.",
        "Always check the timezone of timestamps from this API, they are local and not UTC.",
    ],
)
def test_honest_advice_is_never_taken_for_junk_or_an_instruction(content: str) -> None:
    assert refusal(replace(GOOD, content=content), EVIDENCE) is None


@pytest.mark.parametrize("thing", ["export", "login page", "search index", "invoice job", "mail template"])
@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("I updated the {thing} as the user asked and they thanked me.", "not actionable"),
        ("The user asked about the {thing} and I answered all of the questions.", "not actionable"),
        ("We discussed the {thing} and everything went well in the end.", "not actionable"),
        ("The session about the {thing} ended well and everybody was pleased.", "not actionable"),
        ("Task completed successfully, the {thing} works fine now.", "no content"),
        ("All problems with the {thing} were solved successfully.", "no content"),
        ("Make the {thing} work for the office in Rome.", "echo of the task"),
        ("The task: make the {thing} work for the office in Rome, please.", "echo of the task"),
        (
            "1. Never merge on Fridays\n2. Use a BOM for Excel\n3. Brew coffee at ninety degrees when guests come",
            "not atomic",
        ),
        (
            "- Use `pytest -x` to stop early\n- Always water plants at noon\n- When a {thing} is late, call us",
            "not atomic",
        ),
    ],
)
def test_junk_about_anything_is_refused(thing: str, said: str, code: str) -> None:
    task = f"Make the {thing} work for the office in Rome"
    item = MemoryItem(text=task, title=f"About the {thing}", content=said.format(thing=thing))
    refused = refusal(item, evidence_of([NewTrace(task, "success")]))
    assert refused is not None
    assert refused.code in {code, "no content"}


@pytest.mark.parametrize(
    "content",
    [
        "1. Stop the writers\n2. Take a dump\n3. Run pg_upgrade\n4. Start them again",
        "- Open the settings page\n- Click the gear\n- Choose the second tab and press save",
        "The user is allergic to nuts and prefers vegetarian recipes.",
        "Caroline adopted a dog called Oliver in May.",
        "The staging database listens on another port than production.",
        "Rotate slowly, as the runbook says, and check twice.",
    ],
)
def test_steps_of_one_way_and_facts_are_no_junk(content: str) -> None:
    assert refusal(MemoryItem(text="t", title="Upgrade the database safely", content=content), EVIDENCE) is None


def test_our_own_distillation_may_quote_only_what_the_trace_says() -> None:
    ours = replace(GOOD, origin="rules")
    assert refusal(ours, EVIDENCE) is None
    invented = refusal(replace(ours, content=f"{GOOD.content} See `export_to_excel()`."), EVIDENCE)
    assert invented is not None
    assert str(invented) == "not supported: 'export_to_excel()' does not occur in the trace"


def test_a_client_was_there_and_may_quote_what_it_left_out_of_the_trace() -> None:
    assert refusal(replace(GOOD, content=f"{GOOD.content} See `export_to_excel()`."), EVIDENCE) is None


def test_a_warning_may_repeat_the_task_because_its_error_is_the_news() -> None:
    warning = MemoryItem(
        text=REPORT.task,
        title="Failed: CSV for Excel",
        content="Export of the sales table to CSV with the right encoding for Excel ended early",
        error_context=ErrorContext("UnicodeEncodeError", "charmap codec", "use utf-8-sig"),
    )
    assert refusal(warning, EVIDENCE) is None


def test_the_request_to_distil_is_small_and_repeats_the_key() -> None:
    asked = distil_request(REPORT, idempotency_key="key-1")
    failed = distil_request(replace(REPORT, outcome="failure"), idempotency_key="key-1")
    assert asked["idempotency_key"] == "key-1"
    assert asked["instructions"] != failed["instructions"]
    assert "prevent this failure" in str(failed["instructions"])
    schema = asked["schema"]
    assert isinstance(schema, dict)
    assert schema["maxItems"] == 3
    assert len(json.dumps(failed)) < 1_400
