import re
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reasoning_bank.compression.compressor import PromptCompressor
from reasoning_bank.compression.cutting import occurrences
from reasoning_bank.compression.layout import regions, units
from reasoning_bank.compression.selection import query_order
from reasoning_bank.errors import InputError
from reasoning_bank.records import Compression
from reasoning_bank.text.tokens import TokenCounter, counter

MARK = re.compile(r"\[\.\.\. \d+ tokens cut \.\.\.\]|…")
ADDRESS = re.compile(r"https?://[^\s\"'<>`]+")
NUMBER = re.compile(r"(?<![\w.,])\d[\d.,]*\d(?![\w])|(?<![\w.,])\d(?![\w.,])")
PARAGRAPH = (
    "The service answered in 120 ms before the release and in 3,450 ms after it. "
    "We looked at https://status.example.com/incidents/42?view=full and found nothing. "
    "The pool size in config/app.toml was 5. Raising it to 20 brought the latency back to 118 ms. "
)
CODE = '```python\ndef total(items: list[int]) -> int:\n    """Add them all."""\n\n\n    return sum(items)\n```\n'
PROMPT = "# Report\n\n" + PARAGRAPH * 12 + "\n\n" + CODE + "\n" + PARAGRAPH * 12 + "\n\nWhat was the cause?\n"


@pytest.fixture(scope="session")
def estimator() -> TokenCounter:
    return counter("estimated")


@pytest.fixture(scope="session")
def exact(assets_dir: Path) -> TokenCounter:
    found = counter("o200k_base", assets_dir)
    if not found.exact:
        pytest.skip("no token ranks installed (make install)")
    return found


@pytest.fixture(params=["estimator", "exact"])
def compress(request: pytest.FixtureRequest) -> Callable[..., Compression]:
    return PromptCompressor(tokenizer=request.getfixturevalue(request.param)).compress


def test_both_bounds_hold_and_the_smaller_one_wins(compress: Callable[..., Compression]) -> None:
    before = compress(PROMPT, ratio=1.0).tokens_before
    assert compress(PROMPT, ratio=0.5).tokens_after <= before // 2
    assert compress(PROMPT, max_tokens=100).tokens_after <= 100
    assert compress(PROMPT, max_tokens=10**9, ratio=0.3).tokens_after <= int(0.3 * before)
    assert compress(PROMPT).tokens_after <= int(0.7 * before)


def test_a_budget_is_used_not_only_kept(compress: Callable[..., Compression]) -> None:
    for query in (None, "pool size latency"):
        result = compress(PROMPT, ratio=0.5, query=query)
        assert result.tokens_after >= 0.9 * 0.5 * result.tokens_before


def test_head_and_tail_stay_and_the_mark_says_how_much_went(compress: Callable[..., Compression]) -> None:
    result = compress(PROMPT, max_tokens=150)
    assert result.text.startswith("# Report\n\nThe service answered")
    assert result.text.endswith("What was the cause?\n")
    marks = MARK.findall(result.text)
    assert len(marks) == 1
    cut = int(marks[0].split()[1])
    assert abs(result.tokens_before - cut - result.tokens_after) < 20
    head, tail = result.text.split(marks[0])
    assert len(head) > len(tail)


def test_the_head_share_is_a_setting(estimator: TokenCounter) -> None:
    tail_only = PromptCompressor(tokenizer=estimator, truncation_head_ratio=0.0).compress(PROMPT, max_tokens=120)
    assert tail_only.text.startswith("[...")


def test_a_query_decides_what_stays(compress: Callable[..., Compression]) -> None:
    middle = "The root cause was a leaking database connection in worker 7."
    filler = "The weather was mild and the visitors enjoyed the garden. "
    prompt = filler * 40 + middle + " " + filler * 40
    assert middle not in compress(prompt, ratio=0.2).text
    found = compress(prompt, ratio=0.2, query="Which connection was leaking?")
    assert middle in found.text
    assert "…" in found.text


def test_blanks_go_first_and_when_they_suffice_nothing_else_goes(compress: Callable[..., Compression]) -> None:
    prompt = "First line with words   \n\n\n\n\n\nSecond line with words\t\n" + "\n" * 40 + "Third line here"
    result = compress(prompt, ratio=1.0)
    assert result.text == "First line with words\n\nSecond line with words\n\nThird line here"
    assert result.lossless
    assert {step.name for step in result.steps} == {"trailing_blanks", "empty_lines"}
    assert sum(step.tokens_saved for step in result.steps) == result.tokens_before - result.tokens_after


@pytest.mark.parametrize(
    "prompt",
    [
        "Text\n\n```\ncode  \n\n\n\nmore  \n```\nend",
        "Text\n\n~~~\n```  \n\n\n\nx  \n~~~\nend",
        "```python\nopen fence  \n\n\n\nnever closed  ",
        'x = """a  \n\n\n\nb"""  \ny = 1',
        "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n \n \n \n-a  \n+b",
        "def f():\n    a = 1  \n\n\n\n    return a\n\nclass B:\n    pass\n",
        "name\tvalue\t\t\na\tb\t\t\n",
    ],
)
def test_blanks_that_mean_something_stay(prompt: str, compress: Callable[..., Compression]) -> None:
    assert compress(prompt, ratio=1.0).text == prompt


def test_a_fence_keeps_its_two_lines_or_goes_as_a_whole(compress: Callable[..., Compression]) -> None:
    prompt = "Look:\n\n```python\n" + "".join(f"value_{n} = compute({n})\n" for n in range(200)) + "```\n\nDone.\n"
    for budget in (40, 80, 200, 500):
        cut = compress(prompt, max_tokens=budget).text
        assert cut.count("```") in {0, 2}
        assert all(line in prompt for line in cut.splitlines() if not MARK.search(line))


def test_preserved_literals_stay_whatever_the_budget(compress: Callable[..., Compression]) -> None:
    prompt = PARAGRAPH * 30 + "The order number is ZX-81/99. Keep  two  blanks. " + PARAGRAPH * 30
    result = compress(prompt, max_tokens=120, preserve=["ZX-81/99", "two  blanks", "", "not in the prompt"])
    assert "ZX-81/99" in result.text
    assert "two  blanks" in result.text
    assert result.tokens_after <= 120


def test_a_query_of_megabytes_is_read_no_further_than_its_beginning() -> None:
    text = "the cache is cold. the pool is small. the disk is slow."
    cover = units(text, piece_chars=20, sentence_chars=20)
    query = "pool " + " ".join(f"x{number}" for number in range(2_000)) + " disk"
    assert query_order(text, cover, query) == query_order(text, cover, "pool")


def test_a_flood_of_literals_is_refused() -> None:
    with pytest.raises(InputError, match="preserve has 101 literals, the limit is 100"):
        PromptCompressor(tokenizer=counter("estimated")).compress(PROMPT, preserve=[f"x{n}" for n in range(101)])


def test_a_long_literal_that_overlaps_itself_takes_no_more_than_linear_time() -> None:
    ruler = "-" * 20_000
    spans = occurrences(ruler * 50 + "\n", [ruler])
    assert spans == [(start, start + len(ruler)) for start in range(0, 50 * len(ruler), len(ruler))]
    assert occurrences("aaaa", ["aa"]) == [(0, 4)]


def test_more_to_preserve_than_fits_is_an_error_with_both_numbers(compress: Callable[..., Compression]) -> None:
    with pytest.raises(InputError, match=r"takes \d+ tokens, the budget is 20 of \d+"):
        compress(PROMPT, max_tokens=20, preserve=[PARAGRAPH])


@pytest.mark.parametrize(
    ("prompt", "arguments", "message"),
    [
        ("", {}, "empty"),
        (" \n\t ", {}, "empty"),
        ("x", {"max_tokens": 0}, "max_tokens is 0"),
        ("x", {"max_tokens": -5}, "max_tokens is -5"),
        ("x", {"ratio": 0.0}, "ratio is 0"),
        ("x", {"ratio": 1.01}, "ratio is 1.01"),
        ("x", {"ratio": float("nan")}, "ratio is nan"),
    ],
)
def test_wrong_arguments_are_named(
    prompt: str, arguments: dict[str, float], message: str, estimator: TokenCounter
) -> None:
    with pytest.raises(InputError, match=message):
        PromptCompressor(tokenizer=estimator).compress(prompt, **arguments)  # pyright: ignore[reportArgumentType] -- mixed on purpose


def test_a_compressor_with_wrong_numbers_cannot_be_made(estimator: TokenCounter) -> None:
    for arguments in ({"max_tokens": 0}, {"compression_ratio": 2.0}, {"truncation_head_ratio": 1.5}):
        with pytest.raises(InputError):
            PromptCompressor(tokenizer=estimator, **arguments)  # pyright: ignore[reportArgumentType] -- wrong on purpose


def test_kept_offsets_lead_back_into_the_input(compress: Callable[..., Compression]) -> None:
    for query in (None, "release latency"):
        result = compress("Line one   \n\n\n\n" + PROMPT, ratio=0.4, query=query)
        rest = result.text
        for start, end in result.kept:
            piece = ("Line one   \n\n\n\n" + PROMPT)[start:end]
            before, found, rest = rest.partition(piece)
            assert found == piece
            assert not MARK.sub("", before).strip()
        assert list(result.kept) == sorted(result.kept)


def test_every_tokenizer_result_says_what_was_counted(estimator: TokenCounter, exact: TokenCounter) -> None:
    for tokenizer in (estimator, exact):
        result = PromptCompressor(tokenizer=tokenizer).compress(PROMPT)
        assert (result.tokenizer, result.exact) == (tokenizer.name, tokenizer.exact)
        assert result.tokens_after == tokenizer.count(result.text)
        assert result.tokens_before == tokenizer.count(PROMPT)


WORDS = st.sampled_from(
    [
        "https://example.com/a,b;c?d=1&e=2",
        "3.14159",
        "1,234,567",
        "snake_case_name",
        "café",
        "it's",
        "a.b.c()",
        "--flag=x",
        "don't",
        "中文字符。",
        "日本語テキスト",
        "👩\u200d👧",
        "é",
        "END.",
        "Then",
        "x",
        "if",
        "{",
        "};",
        '"""',
        "```",
        "~~~",
    ]
)
BLANK = st.sampled_from([" ", "  ", "\n", "\n\n", "\n\n\n\n", "\t", ".\n", "\r\n", ". ", "\n    ", "\n- "])
PROMPTS = st.lists(st.tuples(WORDS, BLANK), min_size=1, max_size=120).map(
    lambda parts: "".join(word + blank for word, blank in parts)
)
QUERIES = st.sampled_from([None, "snake_case_name", "café then"])


WORD = re.compile(r"\S+")
CJK = re.compile(r"[\u3000-\u30ff\u4e00-\u9fff]")


def shown(text: str, pattern: re.Pattern[str]) -> set[str]:
    return set(pattern.findall(MARK.sub(" ", text)))


@settings(deadline=None, max_examples=150)
@given(PROMPTS, st.integers(1, 120), st.sampled_from([0.2, 0.5, 0.7, 1.0]), QUERIES)
@example("https://example.com/a,b;c?d=1&e=2 中文字符。.\n", 2, 0.2, None)
@example("x\n\n\n\n1,234,567\n\n\n\n" * 3, 4, 0.5, None)
def test_any_prompt_stays_in_budget_unbroken_and_settled(
    prompt: str, most: int, ratio: float, query: str | None
) -> None:
    """Budget, determinism, idempotence at the same target, and no broken address, number or word."""
    compressor = PromptCompressor(tokenizer=counter("estimated"))
    result = compressor.compress(prompt, max_tokens=most, ratio=ratio, query=query)
    assert result.tokens_after <= max(min(most, int(ratio * result.tokens_before)), 1)
    assert result == compressor.compress(prompt, max_tokens=most, ratio=ratio, query=query)
    # Between characters that are words of their own a text may be cut.
    assert shown(CJK.sub(" ", result.text), WORD) <= shown(CJK.sub(" ", prompt), WORD)
    if result.text.strip():
        again = compressor.compress(result.text, max_tokens=max(result.tokens_after, 1), ratio=1.0, query=query)
        assert again.text == result.text
        assert again.lossless


@settings(deadline=None, max_examples=60)
@given(st.text(min_size=1, max_size=400).filter(str.strip), st.integers(1, 60))
def test_any_text_at_all_stays_in_budget(prompt: str, most: int) -> None:
    result = PromptCompressor(tokenizer=counter("estimated")).compress(prompt, max_tokens=most, ratio=1.0)
    assert result.tokens_after <= most


@settings(deadline=None, max_examples=60)
@given(PROMPTS, st.lists(st.sampled_from(["3.14159", "1,234,567", "café", "Then"]), max_size=2), st.integers(1, 200))
def test_what_must_be_preserved_survives_or_the_call_is_refused(
    prompt: str, preserve: Sequence[str], most: int
) -> None:
    try:
        result = PromptCompressor(tokenizer=counter("estimated")).compress(prompt, max_tokens=most, preserve=preserve)
    except InputError:
        return
    for literal in preserve:
        assert result.text.count(literal) >= prompt.count(literal)


LONG_LINES = {
    "minified json": '{"id":1234,"url":"https://example.com/a,b;c","amount":1,234.5,"tags":["x","y"]},' * 800,
    "chinese": "今天我们修复了一个严重的错误，原因是连接池太小。" * 1_500,
    "csv": '1,234;"https://example.com/x?a=1,2";snake_case;' * 1_500,
}


@pytest.mark.parametrize("name", LONG_LINES)
def test_one_endless_line_is_cut_without_breaking_addresses_and_numbers(
    name: str, compress: Callable[..., Compression]
) -> None:
    result = compress(LONG_LINES[name], max_tokens=400)
    assert 0.8 * 400 <= result.tokens_after <= 400
    for pattern in (ADDRESS, NUMBER):
        assert shown(result.text, pattern) <= shown(LONG_LINES[name], pattern)


def test_a_run_that_cannot_be_cut_goes_as_a_whole(compress: Callable[..., Compression]) -> None:
    result = compress("a" * 1_000_000, max_tokens=100)
    assert MARK.fullmatch(result.text)
    assert result.kept == ()


@pytest.mark.parametrize(
    "prompt",
    [
        PARAGRAPH * 8_000,
        "a b\n" * 250_000,
        "word " * 400_000,
        ". A" * 300_000,
        "x\n\n\n" * 100_000,
        "```\n" * 50_000,
    ],
    ids=["prose", "short lines", "one line", "sentences", "empty lines", "fences"],
)
def test_millions_of_characters_cost_linear_time(prompt: str, exact: TokenCounter) -> None:
    """One to four megabytes; anything quadratic would take hours."""
    started = time.process_time()
    result = PromptCompressor(tokenizer=exact).compress(prompt)
    assert result.tokens_after <= 12_000
    assert time.process_time() - started < 20


def test_the_layout_covers_the_text() -> None:
    for text in (PROMPT, CODE * 3, "```\nopen", "a", "\n", "~~~\n```\n~~~\nx"):
        found = regions(text)
        assert found[0].start == 0
        assert found[-1].end == len(text)
        assert all(first.end == second.start for first, second in pairwise(found))


def test_real_prompts_of_every_kind_keep_their_words_and_their_budget(eval_data: Path, exact: TokenCounter) -> None:
    import ast
    import json

    compressor = PromptCompressor(tokenizer=exact)
    for line in (eval_data / "prompts" / "prompts.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        text = row["text"]
        lossless = compressor.compress(text, ratio=1.0)
        if row["kind"] == "python":
            try:
                tree = ast.dump(ast.parse(text))
            except SyntaxError:
                continue
            assert ast.dump(ast.parse(lossless.text)) == tree
        for query in (None, "error"):
            cut = compressor.compress(text, ratio=0.5, query=query)
            assert cut.tokens_after <= int(0.5 * cut.tokens_before)
            for pattern in (ADDRESS, NUMBER):
                assert shown(cut.text, pattern) <= shown(text, pattern)
