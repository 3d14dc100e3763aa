import re
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from reasoning_bank.compression.compressor import PromptCompressor
from reasoning_bank.compression.results import Compression
from reasoning_bank.embeddings.embedder import Embedder, Kind, Vectors
from reasoning_bank.errors import InputError, ModelUnavailableError
from reasoning_bank.text.tokens import TokenCounter, counter
from tests.compression.generated import EXAMPLES
from tests.compression.generated import PROMPTS as KINDS_OF_PROMPTS

MARK = re.compile(r"\[… \d+ tokens cut …\]|\[…\]")
ADDRESS = re.compile(r"https?://[^\s\"'<>`]+")
NUMBER = re.compile(r"(?<![\w.,])\d[\d.,]*\d(?![\w])|(?<![\w.,])\d(?![\w.,])")
PARAGRAPH = (
    "The service answered in 120 ms before the release and in 3,450 ms after it. "
    "We looked at https://status.example.com/incidents/42?view=full and found nothing. "
    "The pool size in config/app.toml was 5. Raising it to 20 brought the latency back to 118 ms. "
)
CODE = '```python\ndef total(items: list[int]) -> int:\n    """Add them all."""\n\n\n    return sum(items)\n```\n'
NEEDLE = "The root cause was a leaking database connection in worker 7."
BEFORE = "".join(f"On day {n} the weather was mild and all of group {n} enjoyed the garden. " for n in range(40))
AFTER = "".join(f"On night {n} the rain was cold and the guests of room {n} stayed in the house. " for n in range(40))
SOUGHT = BEFORE + NEEDLE + " " + AFTER
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


def test_a_long_gap_says_how_much_went(compress: Callable[..., Compression]) -> None:
    result = compress(SOUGHT * 3 + "\n\nWhat was leaking?", max_tokens=100)
    spelled = [int(mark.split()[1]) for mark in MARK.findall(result.text) if "tokens" in mark]
    assert spelled
    assert 0.5 * result.tokens_before < sum(spelled) <= result.tokens_before


def test_a_reference_never_points_at_what_was_cut(compress: Callable[..., Compression]) -> None:
    prompt = (PARAGRAPH + "\n\n") * 12 + "\n".join(f"Another remark, number {n}, stands here." for n in range(200))
    for budget in (60, 120, 400):
        result = compress(prompt, max_tokens=budget, query="remark number 77")
        assert not re.search(r"\[the .* above", result.text) or "The service answered in 120 ms" in result.text


def test_the_question_at_the_end_stays_and_decides_what_else_does(compress: Callable[..., Compression]) -> None:
    result = compress(SOUGHT + "\n\nWhich connection was leaking?\n", ratio=0.2)
    assert result.question == "Which connection was leaking?"
    assert NEEDLE in result.text
    assert result.text.endswith("Which connection was leaking?\n")
    assert "units_by_question" in {step.name for step in result.steps}


def test_folding_a_log_keeps_the_line_that_is_asked_for(compress: Callable[..., Compression]) -> None:
    log = "".join(f"2026-03-01 10:00:{n % 60:02d} INFO request {n * 7} took {n % 13 * 5} ms\n" for n in range(300))
    asked = compress(log, ratio=0.3, query="How long did request 1421 take?")
    assert "log_templates" in {step.name for step in asked.steps}
    assert "request 1421 took 40 ms\n" in asked.text
    assert "request 1421 took" in compress(f"{log}\nHow long did request 1421 take?\n", ratio=0.3).text
    assert "request 1421 " not in compress(log, ratio=0.3).text


def test_what_asks_nothing_keeps_what_it_is_about_and_where_paragraphs_begin(
    compress: Callable[..., Compression],
) -> None:
    topics = ["The orchard grows apples", "The river floods the mill", "The school teaches music"]
    prompt = "\n\n".join(
        f"{topic} in year {year}. " + "Some remark of no weight follows there. " * 6
        for year in range(1900, 1906)
        for topic in topics
    )
    result = compress(prompt, ratio=0.4)
    assert result.question is None
    assert result.text.count("in year") >= 15
    assert "units_by_centrality" in {step.name for step in result.steps}


def test_the_middle_of_what_is_protected_goes_first_when_it_does_not_fit(estimator: TokenCounter) -> None:
    rules = "".join(f"You must keep rule {number} of this long list of rules.\n" for number in range(200))
    for ratio, expected in ((0.6, (20, 0)), (1.0, (20, -1))):
        compressor = PromptCompressor(tokenizer=estimator, truncation_head_ratio=ratio)
        cut = compressor.compress(rules, max_tokens=400, preserve=["rule"])
        numbers = [int(number) for number in re.findall(r"rule (\d+)", cut.text)]
        assert cut.tokens_after <= 400
        assert numbers == sorted(numbers)
        assert numbers[: expected[0]] == list(range(expected[0]))[: len(numbers)] or numbers[0] == 0
        assert (199 in numbers) == (expected[1] == 0)


def test_a_model_finds_what_no_word_tells(minilm: Embedder, exact: TokenCounter) -> None:
    prompt = f"{BEFORE}Our feline refuses its breakfast, whatever anybody puts into its bowl in the morning. {AFTER}"
    compressor = PromptCompressor(tokenizer=exact)

    def encode(texts: Sequence[str], kind: Kind) -> Vectors:
        return minilm.encode(texts, kind)

    question = "Why does the cat not eat?"
    assert "feline" in compressor.compress(prompt, ratio=0.1, query=question, encode=encode).text
    assert "feline" not in compressor.compress(prompt, ratio=0.1, query=question).text


def test_without_a_model_the_answer_is_by_words_and_says_so(estimator: TokenCounter) -> None:
    def no_model(texts: Sequence[str], kind: Kind) -> Vectors:
        raise ModelUnavailableError("still loading")

    compressor = PromptCompressor(tokenizer=estimator)
    result = compressor.compress(SOUGHT, ratio=0.2, query="leaking connection", encode=no_model)
    assert result.degraded == ("semantic",)
    assert result.text == compressor.compress(SOUGHT, ratio=0.2, query="leaking connection").text


def test_whoever_watches_the_progress_can_end_the_work(estimator: TokenCounter) -> None:
    seen: list[float] = []

    def stop(done: float) -> None:
        seen.append(done)
        if done >= 0.3:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        PromptCompressor(tokenizer=estimator).compress(SOUGHT, ratio=0.2, progress=stop)
    assert seen == sorted(seen)
    seen.clear()
    PromptCompressor(tokenizer=estimator).compress(CODE + SOUGHT, ratio=0.2, query="leaking", progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_the_answer_says_of_what_the_prompt_was_made_and_what_was_kept(compress: Callable[..., Compression]) -> None:
    prompt = CODE + "\n" + PROMPT
    result = compress(prompt, ratio=0.5)
    assert result.segments[0].start == 0
    assert result.segments[-1].end == len(prompt)
    assert {"code", "prose"} <= {segment.kind for segment in result.segments}
    assert all(0 <= segment.kept_share <= 1 for segment in result.segments)
    kept = sum(end - start for start, end in result.kept)
    assert sum(s.kept_share * (s.end - s.start) for s in result.segments) == pytest.approx(kept)
    assert result.ratio == result.tokens_after / result.tokens_before <= 0.5
    assert not result.lossless
    assert [step.name for step in result.steps if not step.lossless] == ["units_by_question"]


def test_a_query_decides_what_stays(compress: Callable[..., Compression]) -> None:
    assert NEEDLE not in compress(SOUGHT, ratio=0.2).text
    found = compress(SOUGHT, ratio=0.2, query="Which connection was leaking?")
    assert NEEDLE in found.text
    assert MARK.search(found.text)


def test_blanks_go_first_and_when_they_suffice_nothing_else_goes(exact: TokenCounter) -> None:
    prompt = "First line with words   \n\n\n\n\n\nSecond line with words\t\n" + "\n" * 40 + "Third line here"
    result = PromptCompressor(tokenizer=exact).compress(prompt, ratio=1.0)
    assert result.text.split() == prompt.split()
    assert len(result.text) < len(prompt) / 1.5
    assert result.lossless
    assert result.steps
    assert all(step.lossless for step in result.steps)
    assert sum(step.tokens_saved for step in result.steps) == result.tokens_before - result.tokens_after


@pytest.mark.parametrize(
    "prompt",
    [
        "Text\n\n```\ncode  \n\n\n\nmore  \n```\nend",
        "Text\n\n~~~\n```  \n\n\n\nx  \n~~~\nend",
        "```python\nopen fence  \n\n\n\nnever closed  ",
        'x = """a  \n\n\n\nb"""  \ny = 1',
        "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n \n \n \n-a  \n+b",
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


def test_more_to_preserve_than_fits_is_cut_or_an_error_with_both_numbers(compress: Callable[..., Compression]) -> None:
    assert compress(PROMPT, max_tokens=20, preserve=[PARAGRAPH]).tokens_after <= 20
    with pytest.raises(InputError, match=r"takes \d+ tokens, the budget is 20 of \d+"):
        compress(PROMPT, max_tokens=20, preserve=[PARAGRAPH], on_overflow="error")


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
        ("x", {"on_overflow": "ignore"}, "on_overflow is 'ignore'"),
    ],
)
def test_wrong_arguments_are_named(
    prompt: str, arguments: dict[str, object], message: str, estimator: TokenCounter
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
        assert (result.error == 0) == tokenizer.exact
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


WORD = re.compile(r"[^\s\u3000-\u30ff\u4e00-\u9fff]+")


def broken(prompt: str, result: Compression, pattern: re.Pattern[str]) -> list[str]:
    """What matches in the prompt and is neither kept whole nor gone as a whole."""
    edges = sorted({edge for span in result.kept for edge in span})
    found: list[str] = []
    for match in pattern.finditer(prompt):
        at = bisect_right(edges, match.start())
        if at < len(edges) and edges[at] < match.end():
            found.append(match[0])
    return found


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
    assert broken(prompt, result, WORD) == []
    if result.text.strip():
        again = compressor.compress(result.text, max_tokens=max(result.tokens_after, 1), ratio=1.0, query=query)
        assert again.text == result.text
        assert again.lossless


@settings(
    deadline=None,
    max_examples=EXAMPLES * 2,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example, HealthCheck.data_too_large],
)
@given(
    KINDS_OF_PROMPTS.filter(str.strip),
    st.integers(1, 300),
    st.sampled_from([0.05, 0.3, 0.7, 1.0]),
    st.sampled_from([None, "pool 3.14159"]),
)
def test_no_output_is_ever_over_budget_whatever_the_prompt(
    prompt: str, most: int, ratio: float, query: str | None
) -> None:
    """Fences that are broken, half of a JSON value, logs, tables, CJK, emoji: see tests/compression/generated.py."""
    compressor = PromptCompressor(tokenizer=counter("estimated"))
    result = compressor.compress(prompt, max_tokens=most, ratio=ratio, query=query)
    assert result.tokens_after == counter("estimated").count(result.text)
    assert result.tokens_after <= max(min(most, int(ratio * result.tokens_before)), 1)
    assert all(prompt[start:end] in result.text for start, end in result.kept)
    assert all(first[1] <= second[0] for first, second in pairwise(result.kept))
    assert result == compressor.compress(prompt, max_tokens=most, ratio=ratio, query=query)
    if result.text.strip():
        again = compressor.compress(result.text, max_tokens=max(result.tokens_after, 1), ratio=1.0, query=query)
        assert again.text == result.text


@settings(deadline=None, max_examples=60)
@given(PROMPTS, st.lists(st.sampled_from(["3.14159", "1,234,567", "café", "Then"]), max_size=2), st.integers(1, 200))
def test_what_must_be_preserved_survives_or_the_call_is_refused(
    prompt: str, preserve: Sequence[str], most: int
) -> None:
    try:
        result = PromptCompressor(tokenizer=counter("estimated"), on_overflow="error").compress(
            prompt, max_tokens=most, preserve=preserve
        )
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
    assert 0.7 * 400 <= result.tokens_after <= 400
    for pattern in (ADDRESS, NUMBER):
        assert broken(LONG_LINES[name], result, pattern) == []


def test_a_run_that_cannot_be_cut_goes_as_a_whole(compress: Callable[..., Compression]) -> None:
    result = compress("a" * 200_000, max_tokens=100)
    assert MARK.fullmatch(result.text)
    assert result.kept == ()


@pytest.mark.parametrize(
    "prompt",
    [
        PARAGRAPH * 2_000,
        "a b\n" * 30_000,
        "word " * 100_000,
        ". A" * 75_000,
        "x\n\n\n" * 10_000,
        "```\n" * 10_000,
        "," * 200_000,
    ],
    ids=["prose", "short lines", "one line", "sentences", "empty lines", "fences", "commas"],
)
def test_millions_of_characters_cost_linear_time(prompt: str, exact: TokenCounter) -> None:
    """Up to a megabyte; anything quadratic would take many minutes."""
    started = time.process_time()
    result = PromptCompressor(tokenizer=exact).compress(prompt)
    assert result.tokens_after <= 12_000
    assert time.process_time() - started < 20


def test_real_prompts_of_every_kind_keep_their_words_and_their_budget(eval_data: Path, exact: TokenCounter) -> None:
    import ast
    import json

    compressor = PromptCompressor(tokenizer=exact)
    for line in (eval_data / "prompts" / "prompts.jsonl").read_text(encoding="utf-8").splitlines()[::8]:
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
                assert broken(text, cut, pattern) == []
