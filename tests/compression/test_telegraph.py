from pathlib import Path

import pytest

from reasoning_bank.compression.compressor import PromptCompressor
from reasoning_bank.compression.pieces import Pieces
from reasoning_bank.compression.telegraph import telegraph
from reasoning_bank.text.tokens import TokenCounter, counter


@pytest.fixture(scope="module")
def exact(assets_dir: Path) -> TokenCounter:
    found = counter("o200k_base", assets_dir)
    if not found.exact:
        pytest.skip("no token ranks installed (make install)")
    return found


@pytest.mark.parametrize(
    ("prompt", "ratio", "shown"),
    [
        ("What is 2+2?", 0.7, "2+2?"),
        ("Fix the bug in parser.py now please.", 0.3, "Fix bug"),
        ("Translate to French: The cat sat on the mat.", 0.7, "Translate French: cat sat mat."),
        ("x=1\ny=2\nprint(x+y)\n", 0.7, "x=1\ny=2"),
        ("The sky is blue. Water is wet. What colour is the grass?", 0.3, "sky colour grass?"),
    ],
)
def test_of_a_tiny_prompt_the_telling_words_stay(prompt: str, ratio: float, shown: str, exact: TokenCounter) -> None:
    result = PromptCompressor(tokenizer=exact).compress(prompt, ratio=ratio)
    assert result.text == shown
    assert result.tokens_after <= ratio * result.tokens_before
    assert not result.lossless
    assert [step.name for step in result.steps] == ["telling_words"]


def test_what_cannot_be_broken_and_does_not_fit_leaves_a_mark_and_keeps_nothing(exact: TokenCounter) -> None:
    result = PromptCompressor(tokenizer=exact).compress('{"a":1,"b":2}')
    assert (result.text, result.kept) == ("[…]", ())
    assert [segment.kept_share for segment in result.segments] == [0]


@pytest.mark.parametrize("budget", range(1, 12))
def test_no_word_stays_without_what_denies_it(budget: int) -> None:
    text = "Please do not, whatever happens, delete the production database. Thanks."
    found = [match for match in _spans(text) if text[slice(*match)] != "not,"]
    shown = telegraph(Pieces.whole(text), found, count=lambda said: len(said.split()), budget=budget).text
    assert len(shown.split()) <= budget
    assert "not" in shown or "delete" not in shown


def test_words_are_joined_by_what_stood_between_them() -> None:
    text = "Read  the log\n\nthen go"
    shown = telegraph(Pieces.whole(text), _spans(text), count=lambda said: len(said.split()), budget=3)
    assert (shown.text, shown.spans) == ("Read log\ngo", ((0, 4), (10, 13), (20, 22)))


def _spans(text: str) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    for word in text.split():
        start = text.index(word, spans[-1][1] if spans else 0)
        spans.append((start, start + len(word)))
    return spans
