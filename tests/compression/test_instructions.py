"""What a prompt tells its reader to do, told apart from prose in which something must or must never be."""

from pathlib import Path

import pytest

from reasoning_bank.compression.segments import segments

PROSE = "The service answered late. We looked at the pool and found nothing that explains it.\n"
DOCUMENT = Path(__file__).parents[2] / "ARCHITECTURE.md"


def told(text: str) -> list[str]:
    return [text[each.start : each.end].strip() for each in segments(text) if each.kind == "instruction"]


@pytest.mark.parametrize(
    "line",
    [
        "You must not change public names.",
        "You are a careful reviewer.",
        "Your answer must be one sentence.",
        "**Task:** find the leak.",
        "Output format: JSON.",
        "If the pool is full you should not raise it.",
    ],
)
def test_what_is_said_to_the_reader_stays_wherever_it_stands(line: str) -> None:
    assert told(f"{PROSE * 40}\n{line}\n\n{PROSE * 40}") == [line]


@pytest.mark.parametrize(
    "line",
    [
        "Vectors of two models are never compared, and must not be mixed.",
        "`store` answers after the commit and never waits for a model.",
        "Whatever is chosen must keep the restart, for at most 300 MB.",
        "Imports run downwards only; the linter holds this, exactly.",
        "Use the pool of the session for that.",
        "Always verified by their hash, they are read as archives.",
    ],
)
def test_prose_that_says_never_or_must_is_no_instruction(line: str) -> None:
    assert told(f"{PROSE * 40}\n{line}\n\n{PROSE * 40}") == []


@pytest.mark.parametrize("line", ["Fix the leak.", "Never guess.", "- Answer in one sentence.", "Do not explain SQL."])
def test_an_imperative_near_an_end_is_meant_for_the_reader(line: str) -> None:
    assert told(f"{PROSE * 40}\n{line}\n") == [line]
    assert told(f"{line}\n\n{PROSE * 40}") == [line]


def test_the_middle_of_a_wrapped_sentence_is_no_imperative() -> None:
    assert (
        told(f"{PROSE * 40}\nThe ranks are read from a local file and\nalways verified before their\nuse in a count.\n")
        == []
    )


def test_lists_of_rules_stay_wherever_they_stand() -> None:
    rules = "- Keep the order of columns.\n- Do not write a row twice."
    assert told(f"{PROSE * 40}\n{rules}\n\n{PROSE * 40}") == [rules]
    headed = "Constraints:\n- 300 MB of memory\n- no more than two connections"
    assert told(f"{PROSE * 40}\n{headed}\n\n{PROSE * 40}") == [headed]


def test_a_document_about_software_holds_hardly_any_instruction() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert sum(len(each) for each in told(text)) < 0.02 * len(text)


def test_a_task_under_a_heading_that_names_memories_is_no_memory() -> None:
    text = f"# Task with memories\n\nYou are a careful reviewer.\n\n{PROSE * 9}\nWhat was the cause?\n"
    assert told(text) == ["You are a careful reviewer.", "What was the cause?"]


def test_a_million_characters_of_any_line_take_linear_time() -> None:
    for line in ("- do not ", "you " * 10, "* " * 50, "never\n"):
        assert segments(line * (300_000 // len(line)))
