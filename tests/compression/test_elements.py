import json
import re
from typing import Any, Unpack, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reasoning_bank.compression.compressor import PromptCompressor
from reasoning_bank.compression.results import Compression, CompressionLimits
from reasoning_bank.text.tokens import counter
from tests.compression.generated import EXAMPLES, VALUES

ROWS = [
    {"id": at, "note": "the pool was exhausted" if at == 37 else "all is well here", "tags": ["a", at]}
    for at in range(60)
]
ANSWER = {"page": 1, "items": ROWS, "next": None}
Object = dict[str, Any]
QUESTION = "Which one saw the pool exhausted?"
MARK = re.compile(r"\[…(?: \d+ tokens cut …)?\]")


def cut(prompt: str, **limits: Unpack[CompressionLimits]) -> Compression:
    return PromptCompressor(tokenizer=counter("estimated")).compress(prompt, query=QUESTION, **limits)


def is_part(some: Any, whole: Any) -> bool:
    """Whether a value is another one without some of its entries, items or stretches of strings."""
    match whole, some:
        case dict(), dict():
            return all(key in whole and is_part(value, whole[key]) for key, value in cast("Object", some).items())
        case list(), list():
            left = iter(cast("list[Any]", whole))
            return all(any(is_part(item, other) for other in left) for item in cast("list[Any]", some))
        case str(), str() if "[…" in some:
            return all(piece.strip() in whole for piece in MARK.split(some))
        case _:
            return repr(some) == repr(whole)


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("ratio", [0.6, 0.1])
def test_a_document_loses_whole_rows_and_stays_one(indent: int | None, ratio: float) -> None:
    result = cut(json.dumps(ANSWER, indent=indent), ratio=ratio)
    left = json.loads(result.text)
    assert 0 < len(left["items"]) < len(ROWS)
    assert all(row in ROWS for row in left["items"])
    assert ROWS[37] in left["items"]
    assert 0 < result.segments[0].kept_share < 1


def test_the_mark_stands_behind_the_fence() -> None:
    result = cut(f"The API said:\n\n```json\n{json.dumps(ANSWER, indent=1)}\n```\n\n{QUESTION}\n", ratio=0.2)
    fenced = re.search(r"```json\n(.*?)\n```\n\[….*?\]\n", result.text, re.DOTALL)
    assert fenced
    assert ROWS[37] in json.loads(fenced[1])["items"]
    assert "[…" not in fenced[1]


def test_values_on_lines_go_by_lines() -> None:
    result = cut("\n".join(json.dumps(row) for row in ROWS), ratio=0.1)
    rows = [json.loads(line) for line in result.text.splitlines()]
    assert ROWS[37] in rows
    assert all(row in ROWS for row in rows)


def test_a_long_string_is_cut_between_sentences_and_marked_inside() -> None:
    told = " ".join(f"On day {day} the garden of group {day} was open.\nIt rained." for day in range(80))
    left = json.loads(cut(json.dumps({"role": "tool", "content": told, "ok": True}), ratio=0.3).text)
    assert "[…" in left["content"]
    assert is_part(left["content"], told)
    assert left["ok"] is True


def test_what_does_not_parse_is_cut_by_lines() -> None:
    broken = "```json\n" + json.dumps(ANSWER, indent=1)[:-5] + "\n```\n"
    result = cut(broken, ratio=0.3)
    assert '"note": "the pool was exhausted",' in result.text


@settings(deadline=None, max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(VALUES, min_size=1, max_size=12), st.integers(1, 80), st.sampled_from([None, 1]))
def test_any_json_that_is_cut_stays_json(rows: list[Any], most: int, indent: int | None) -> None:
    whole = {"rows": rows, "said": "A word. Another one. " * 20, "more": [[[["deep"] * 30]]]}
    result = cut(json.dumps(whole, indent=indent, ensure_ascii=False), max_tokens=most)
    if result.kept:
        assert is_part(json.loads(result.text), whole)


@pytest.mark.parametrize("ratio", [0.3, 0.5, 0.7])
def test_a_small_document_uses_most_of_its_budget(ratio: float) -> None:
    record = {
        "reservation": "EUJUY6",
        "from": "ORD",
        "to": "LAS",
        "flights": [{"number": f"HAT{at}", "date": f"2024-05-{at}", "price": at * 7} for at in range(14, 20)],
        "passengers": [{"first": "Lucas", "last": "Brown"}, {"first": "Mia", "last": "Khan"}],
        "paid": True,
    }
    result = cut(json.dumps(record), max_tokens=10_000, ratio=ratio)
    assert is_part(json.loads(result.text), record)
    assert 0.5 * ratio * result.tokens_before <= result.tokens_after <= ratio * result.tokens_before
