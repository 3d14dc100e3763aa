import ast
import json
import re
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reasoning_bank.compression.edits import Edit, Kind, Segment, Step, apart, apply, joined, merge, moved, rebase
from reasoning_bank.compression.pieces import Pieces
from reasoning_bank.compression.protect import protected
from reasoning_bank.compression.python import python_tree
from reasoning_bank.compression.segments import segments
from reasoning_bank.compression.steps import lossless_steps, lossy_steps
from reasoning_bank.text.tokens import TokenCounter, counter, estimate
from tests.compression.generated import EXAMPLES, PROMPTS

REFERENCE = re.compile(r"\[(?:the line|the (\d+) lines) above from \"(.*)\"\](?: ×(\d+))?")
COUNTED = re.compile(r"(.*) ×(\d+)\r?")
RULES = {"repeated_blocks", "duplicate_lines"}
many = settings(
    deadline=None, max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example]
)


@pytest.fixture(scope="session")
def exact(assets_dir: Path) -> TokenCounter:
    found = counter("o200k_base", assets_dir)
    if not found.exact:
        pytest.skip("no token ranks installed (make install)")
    return found


def edits_of(steps: Sequence[Step]) -> list[Edit]:
    return sorted(edit for step in steps for edit in step.edits)


def shortened(
    text: str,
    count: Callable[[str], int] = estimate,
    *,
    preserve: Sequence[str] = (),
    preserve_json: bool = True,
    docstrings: bool = False,
) -> tuple[str, list[Step]]:
    steps = lossless_steps(
        text,
        segments(text),
        protected(text, preserve),
        count=count,
        preserve_json=preserve_json,
        docstrings=docstrings,
    )
    return apply(text, edits_of(steps)), steps


def read_back(text: str) -> str:
    """The text with what references and counts stand for in their place."""
    done: list[str] = []
    for line in text.split("\n"):
        found = REFERENCE.fullmatch(line.rstrip())
        before = "\n".join(done)
        at = before.find(found[2]) if found else -1
        if not found or at < 0:
            done.append(line)
            continue
        first = before.count("\n", 0, at)
        block = done[first : first + int(found[1] or 1)]
        done += [*block[:-1], block[-1].rstrip()] * int(found[3] or 1)
    lines = [COUNTED.fullmatch(line) for line in done]
    return "\n".join(
        "\n".join([found[1]] * int(found[2])) if found else line for line, found in zip(done, lines, strict=True)
    )


@st.composite
def edits(draw: st.DrawFn, length: int) -> list[Edit]:
    cuts = sorted(draw(st.lists(st.integers(0, length), max_size=12)))
    spans = [span for span in zip(cuts[::2], cuts[1::2], strict=False) if span[0] < span[1]]
    return [Edit(*span, draw(st.text("xyz", max_size=3))) for span in spans]


@settings(deadline=None, max_examples=300)
@given(st.data(), st.integers(0, 20))
def test_edits_of_a_result_can_be_told_as_edits_of_the_original(data: st.DataObject, length: int) -> None:
    text = "abcdefghijklmnopqrstuvwxyz"[:length]
    first = data.draw(edits(length))
    second = data.draw(edits(len(apply(text, first))))
    rebased = rebase(first, second)
    gone = {number for each in rebased for number in each.replaced}
    both = sorted(
        [*(edit for number, edit in enumerate(first) if number not in gone), *(each.edit for each in rebased)]
    )
    assert all(one.end <= other.start for one, other in pairwise(both))
    assert apply(text, both) == apply(apply(text, first), second)


@settings(deadline=None, max_examples=200)
@given(st.data(), st.integers(0, 20))
def test_merged_edits_are_apart_and_the_first_ones_win(data: st.DataObject, length: int) -> None:
    first, second = data.draw(edits(length)), data.draw(edits(length))
    both = merge(first, second)
    assert set(first) <= set(both) <= {*first, *second}
    assert all(one.end <= other.start for one, other in pairwise(both))


def test_what_no_edit_touches_is_kept_and_can_be_found_in_the_result() -> None:
    text, changes = "0123456789", [Edit(2, 4, ""), Edit(6, 7, "six")]
    spans = Pieces.whole(text).edited(changes).spans
    assert spans == ((0, 2), (4, 6), (7, 10))
    result = apply(text, changes)
    assert [result[start:end] for start, end in moved(spans, changes)] == ["01", "45", "789"]
    assert apart(changes, [(3, 5)]) == [changes[1]]
    assert joined([(3, 4), (0, 2), (1, 3), (6, 6)]) == [(0, 4)]


def test_blanks_without_meaning_go_from_prose_and_stay_in_code() -> None:
    prose = "First line here.   \n\n\n\n\nSecond line here.\t\t\nThird line here.\n"
    assert shortened(prose)[0] == "First line here.\n\nSecond line here.\nThird line here.\n"
    for code in ('x = """a  \n\n\n\nb"""  \ny = 1', "```weird\ncode  \n\n\n\nmore  \n```\nend", "a\tb\t\t\nc\td\t\t\n"):
        assert shortened(code)[0] == code


def test_what_a_tool_said_behind_a_label_keeps_the_label() -> None:
    text = 'Observation: {"id": 12, "name": "Ann", "numbers": [1, 2, 3]}\nThought: next\n'
    assert shortened(text)[0] == 'Observation: {"id":12,"name":"Ann","numbers":[1,2,3]}\nThought: next\n'


@pytest.mark.parametrize(
    "text",
    [
        "See https://example.com//a/b#top and http://x.y/?q=//z for it.\n",
        "The colours are #ff8800, #fff and #000000 /* not a comment */.\n",
        "def f(x):\n    if x:\n        return 1\n    return 2\n",
        "Indented:\n\n    first\n        second\n",
    ],
)
def test_addresses_colours_and_indentation_stay(text: str) -> None:
    """An older compressor took `//` and `#` for comments and indentation for blanks."""
    assert shortened(text)[0] == text


def test_steps_are_named_and_say_whether_a_reader_needs_a_rule() -> None:
    rows = json.dumps([{"number": n, "status": "waiting", "owner": "somebody"} for n in range(9)])
    text = f"Rows:\n\n```json\n{rows}\n```\n"
    careful, steps = shortened(text)
    assert [(step.name, step.is_lossless, step.needs_rule) for step in steps] == [("json_minify", True, False)]
    table, steps = shortened(text, preserve_json=False)
    assert ("json_table", True, True) in [(step.name, step.is_lossless, step.needs_rule) for step in steps]
    assert len(table) < len(careful)


def test_a_block_said_again_is_referred_to_and_can_be_read_back() -> None:
    block = "".join(
        f"The {word} of the parser explains what was tried and why it failed.\n" for word in ("first", "second")
    )
    text = f"Intro of the text.\n{block}Between the two blocks.\n{block}The end.\n"
    short, steps = shortened(text)
    assert [step.name for step in steps] == ["repeated_blocks"]
    assert '[the 2 lines above from "The first of the parser"]' in short
    assert read_back(short) == text
    assert shortened(short)[0] == short


def test_empty_lines_between_the_lines_of_a_block_count() -> None:
    block = "# a comment of its own\nx = 1  # why\ny = 1  # why\n\tbad indent\n\n"
    text = f"the\n{block}{block}# a comment of its own\n"
    short, steps = shortened(text)
    assert "repeated_blocks" in [step.name for step in steps]
    assert read_back(short).split() == text.split()


def test_instructions_and_what_is_protected_are_said_as_often_as_they_were() -> None:
    rule = "You must never answer without naming the line of the file that you mean.\n"
    text = f"{rule}\nSome longer text about the parser that stands between the two of them.\n\n{rule}"
    assert shortened(text)[0] == text
    line = "The parser explains what was tried here, at length, and why it failed again.\n"
    assert shortened(line * 2, preserve=[line])[0] == line * 2


def test_json_that_something_parses_is_not_replaced_by_a_reference() -> None:
    value = json.dumps(
        {"name": "somebody", "address": "somewhere far away", "numbers": list(range(9))}, separators=(",", ":")
    )
    text = f"One:\n\n```json\n{value}\n```\n\nTwo:\n\n```json\n{value}\n```\n"
    assert shortened(text)[0] == text
    assert "above from" in shortened(text, preserve_json=False)[0]


@many
@given(PROMPTS)
def test_any_prompt_gets_shorter_or_stays_and_is_settled(text: str) -> None:
    steps = lossless_steps(text, segments(text), protected(text), count=estimate)
    made = edits_of(steps)
    assert all(one.end <= other.start for one, other in pairwise(made))
    assert all(edit.start < edit.end for edit in made)
    result = apply(text, made)
    assert (estimate(result), len(result)) < (estimate(text), len(text)) or not made
    assert steps == lossless_steps(text, segments(text), protected(text), count=estimate)
    assert shortened(result)[0] == result


@many
@given(PROMPTS)
def test_any_prompt_keeps_its_json_and_its_python(text: str) -> None:
    """Equal values, equal trees: as a whole, and in each fence, which is still one."""
    for whole in (f"```json\n{text}\n```\n", f"```python\n{text}\n```\n", text):
        result, _ = shortened(whole)
        if "above from" not in result:
            for one, other in zip(fences(whole), fences(result), strict=True):
                if one.kind == "json" or one.language == "python":
                    assert meaning(whole, one, one.kind) == meaning(result, other, one.kind)


def fences(text: str) -> list[Segment]:
    return [each for each in segments(text) if each.is_fenced]


def meaning(text: str, segment: Segment, kind: Kind) -> object:
    body = text[slice(*segment.body)]
    if kind == "code":
        tree = python_tree(body)
        return ast.dump(tree) if tree else body
    decoder = json.JSONDecoder(object_pairs_hook=list, parse_float=str, parse_int=str)
    values: list[object] = []
    rest = body.strip()
    try:
        while rest:
            value, end = decoder.raw_decode(rest)
            values.append(value)
            rest = rest[end:].strip()
        return repr(values)
    except (ValueError, RecursionError):
        return re.sub(r"\s+", "", body)


@many
@given(PROMPTS, st.lists(st.sampled_from(["the", "2026-03-01", "re:[0-9]+ ms", "中", "# inside", "\n\n"]), max_size=2))
def test_what_is_protected_survives_to_the_letter(text: str, preserve: Sequence[str]) -> None:
    spans = protected(text, preserve)
    for steps in (
        lossless_steps(text, segments(text), spans, count=estimate, preserve_json=False, docstrings=True),
        lossy_steps(text, segments(text), spans, count=estimate),
    ):
        made = edits_of(steps)
        assert apart(made, spans) == made
        result = apply(text, made)
        assert [result[start:end] for start, end in moved(spans, made)] == [text[start:end] for start, end in spans]


@many
@given(PROMPTS)
def test_references_and_counts_can_be_read_back(text: str) -> None:
    result, steps = shortened(text)
    names = {step.name for step in steps}
    others = names - RULES - {"trailing_blanks", "blank_lines"}
    if "above from" not in text and "×" not in text and names & RULES and not others:
        assert blanks_aside(read_back(result)) == blanks_aside(text)


def blanks_aside(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


LONG_LINES = {
    "words": "word " * 200_000,
    "cjk": "今天我们修复了一个严重的错误。" * 70_000,
    "emoji": "👩\u200d👧🙂" * 150_000,
    "json": json.dumps([{"id": n, "name": "x", "tags": ["a", "b"]} for n in range(20_000)]),
    "half json": json.dumps([{"id": n, "name": "x", "tags": ["a", "b"]} for n in range(20_000)])[:-9],
    "brackets": "[" * 1_000_000,
    "braces": '{"a":' * 200_000,
    "quotes": '"' * 1_000_000,
    "backslashes": "\\" * 1_000_000,
    "blanks": "x" + " " * 1_000_000 + "x",
    "tabs and returns": "\t\r" * 500_000,
}


@pytest.mark.parametrize("name", LONG_LINES)
def test_a_line_of_a_megabyte_costs_seconds(name: str) -> None:
    started = time.process_time()
    text = LONG_LINES[name]
    result, _ = shortened(text, lambda text: len(text) // 4)
    lossy_steps(text, segments(text), count=lambda text: len(text) // 4)
    assert len(result) <= len(text)
    assert time.process_time() - started < 20


@pytest.mark.parametrize(
    "line",
    [
        "a b\n",
        "\n",
        "```\n",
        "Note: a thing happened.\n",
        '{"a": 1, "b": [1, 2, 3]}\n',
        '{"a\n',
        "x = 1  # c\n",
        "- item\n",
        "| a | b |\n",
        ' File "a", line 1\n',
        "2026-01-01 10:00:00 INFO job 12 done\n",
        "why?\n",
        "# a\n",
        "a: b\n",
        "<keep>\n",
    ],
)
def test_thousands_of_lines_cost_seconds(line: str) -> None:
    started = time.process_time()
    text = line * 5_000
    shortened(text, lambda text: len(text) // 4)
    assert time.process_time() - started < 20


def test_real_prompts_lose_tokens_and_nothing_else(eval_data: Path, exact: TokenCounter) -> None:
    for line in (eval_data / "prompts" / "prompts.jsonl").read_text(encoding="utf-8").splitlines()[::5]:
        row = json.loads(line)
        text = row["text"]
        result, steps = shortened(text, exact.count)
        assert (exact.count(result), len(result)) < (exact.count(text), len(text)) or not steps
        assert shortened(result, exact.count)[0] == result
        if row["kind"] == "tool-json":
            assert json.loads(result) == json.loads(text)
        if row["kind"] == "python":
            assert ast.dump(ast.parse(result)) == ast.dump(ast.parse(text))
        if row["kind"] == "test-log" and "×" not in text:
            assert blanks_aside(read_back(result)) == blanks_aside(text)
