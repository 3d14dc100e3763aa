"""Shapes: what is asked of servers, what is read from their answers."""

import json
from enum import Enum
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from reasoning_bank.llm.batching import batches
from reasoning_bank.llm.structured import RUNGS, Refusals, asked_as, objects_in, repair_of, schema_of, validated
from reasoning_bank.text.tokens import estimate

from .asking import GOOD, Verdict, question

VALID = json.loads(GOOD)


class Colour(Enum):
    RED = "red"


class Part(BaseModel):
    """A docstring that models need not read."""

    name: str = Field(description="what it is called", max_length=10, pattern="^[a-z]+$")
    weight: float | None = Field(default=None, ge=0)


class Whole(BaseModel):
    kind: Literal["one"]
    colour: Colour
    best: Part = Field(description="the best of them")
    parts: list[Part] = Field(max_length=3)


class Tree(BaseModel):
    children: list["Tree"]


class Free(BaseModel):
    anything: dict[str, int]


def test_a_schema_keeps_only_what_every_server_knows() -> None:
    part = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "description": "what it is called"},
            "weight": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        },
        "required": ["name", "weight"],
        "additionalProperties": False,
    }
    assert schema_of(Whole) == {
        "type": "object",
        "properties": {
            "kind": {"type": "string", "enum": ["one"]},
            "colour": {"type": "string", "enum": ["red"]},
            "best": {**part, "description": "the best of them"},
            "parts": {"type": "array", "items": part},
        },
        "required": ["kind", "colour", "best", "parts"],
        "additionalProperties": False,
    }


@pytest.mark.parametrize("answer", [Tree, Free])
def test_a_shape_that_not_every_server_can_hold_is_refused(answer: type[BaseModel]) -> None:
    with pytest.raises(ValueError, match=r"refers to itself|no fixed properties"):
        schema_of(answer)


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"```json\n{GOOD}\n```",
        f"```\n{GOOD}\n```\nLet me know!",
        f"Sure! Here is the verdict: {GOOD} I hope that helps {{you}}.",
        f'<think>Is it {{"outcome": "failure", "reason": "?"}}? No.</think>\n{GOOD}',
        f'First {{"outcome": "failure", "reason": "a draft"}}, finally {GOOD}',
        f'{GOOD}\nThe schema was {{"type": "object", "properties": {{}}}}',
        f"\ufeff{GOOD}\n",
        '{"outcome": "success", "reason": "the tests passed", "confidence": 1}',
    ],
)
def test_the_valid_object_is_found_whatever_stands_around_it(text: str) -> None:
    assert validated(text, Verdict, str) == Verdict(**VALID)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no complete JSON object"),
        ("I cannot say.", "no complete JSON object"),
        (GOOD[:-5], "no complete JSON object"),
        ("[1, 2]", "no complete JSON object"),
        ("{'outcome': 'success'}", "no complete JSON object"),
        ('{"outcome": "great", "reason": "x"}', "- outcome: Input should be 'success', 'failure' or 'partial'"),
        ('{"outcome": "success"}', "- reason: Field required"),
        ('{"outcome": "success", "reason": ""}', "- reason: String should have at least 1 character"),
    ],
)
def test_an_invalid_answer_says_what_is_wrong(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        validated(text, Verdict, str)


@pytest.mark.parametrize("text", ['{"a":' * 40_000, "{" * 100_000, '{"a": [' + "[" * 100_000, '{"a": 1} ' * 20_000])
def test_hostile_answers_are_read_quickly(text: str) -> None:
    assert len(list(objects_in(text))) <= 50


def test_every_text_in_an_answer_is_cleaned_before_it_is_valid() -> None:
    found: Whole = validated(
        '{"kind": "one", "colour": "red", "best": {"name": "hunter"}, "parts": [{"name": "hunter"}]}',
        Whole,
        lambda text: text.replace("hunter", "x"),
    )
    assert (found.best.name, found.parts[0].name) == ("x", "x")


def test_below_the_first_rung_the_schema_stands_in_the_prompt() -> None:
    asked = {rung: asked_as(question("q"), rung, schema_of(Verdict)) for rung in RUNGS}
    assert (asked["schema"].schema, asked["schema"].messages) == (schema_of(Verdict), question("q").messages)
    for rung in ("object", "prompt"):
        system, user = asked[rung].messages
        assert asked[rung].schema is None
        assert asked[rung].json_object == (rung == "object")
        assert system.text.startswith("Judge.")
        assert "JSON" in system.text
        assert '"enum": ["success", "failure", "partial"]' in system.text
        assert user.text == "q"


def test_a_request_without_instructions_gets_some() -> None:
    request = question("q")
    asked = asked_as(type(request)(messages=request.messages[1:]), "prompt", schema_of(Verdict))
    assert [message.role for message in asked.messages] == ["system", "user"]


def test_a_repair_shows_the_answer_and_what_is_wrong() -> None:
    repaired = repair_of(question("q"), "", "- outcome: missing")
    assert [message.role for message in repaired.messages] == ["system", "user", "assistant", "user"]
    assert "- outcome: missing" in repaired.messages[-1].text
    assert repaired.messages[-2].text, "an empty turn is refused by some servers"


def test_many_problems_are_not_all_shown() -> None:
    class Long(BaseModel):
        many: list[int]

    with pytest.raises(ValueError, match="- and 22 more") as caught:
        validated(json.dumps({"many": ["x"] * 30}), Long, str)
    assert str(caught.value).count("\n") == 8


def test_what_a_model_refused_is_not_tried_again() -> None:
    refusals = Refusals()
    assert refusals.rungs("a") == RUNGS
    refusals.worked("a", "object")
    assert list(refusals.rungs("a")) == ["object", "prompt"]
    assert list(refusals.rungs("b")) == list(RUNGS)
    expected: Any = {"a": "object"}
    assert refusals.learned() == expected


def test_our_words_around_a_question_take_few_tokens() -> None:
    plain = question("q")
    budgets = {
        asked_as(plain, "prompt", {}).messages[0].text: 40,
        repair_of(plain, "", "").messages[-1].text: 25,
        next(batches([plain, plain], [0, 1])).request.messages[0].text: 80,
    }
    for text, budget in budgets.items():
        assert estimate(text) <= budget, text
