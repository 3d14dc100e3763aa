"""What can be held without the package and its weights: how its labels are read, and what is said when it is absent."""

import importlib.util
from collections.abc import Sequence

import pytest

from reasoning_bank.compression.compressor import PromptCompressor
from reasoning_bank.compression.edits import Edit, apply
from reasoning_bank.compression.lingua import left_out, llmlingua
from reasoning_bank.errors import ModelUnavailableError
from reasoning_bank.text.tokens import counter

PROSE = "The export really failed because of the disk. It was, so to speak, entirely full at that time. " * 6


def without(text: str, words: Sequence[str]) -> list[Edit]:
    return list(left_out(text, [(word, "0" if word in words else "1") for word in text.split()]))


def test_words_that_are_not_needed_go_with_the_blank_behind_them() -> None:
    text = "It is  really full.\nSo stop."
    assert apply(text, without(text, ["really", "So"])) == "It is  full.\nstop."


def test_no_word_is_glued_to_another_or_broken() -> None:
    text = "The disk. It was full, nobody saw."
    labelled = [(word, "0") for word in ("disk", ".", "It", ",")] + [("no", "1"), ("body", "0")]
    assert apply(text, list(left_out(text, labelled))) == "The . was full, nobody saw."


def test_a_word_that_the_model_wrote_otherwise_stays() -> None:
    assert list(left_out("naïve people", [("naive", "0"), ("people", "0")])) == [Edit(6, 12, "")]


@pytest.mark.skipif(importlib.util.find_spec("llmlingua") is not None, reason="the package is installed")
def test_without_the_package_the_error_says_what_to_install() -> None:
    compressor = PromptCompressor(
        tokenizer=counter("estimated"), shorten=llmlingua("no-such-bert-base-multilingual-cased")
    )
    with pytest.raises(ModelUnavailableError, match=r"pip install 'reasoning-bank\[llmlingua\]'"):
        compressor.compress(PROSE)


def test_a_model_of_another_family_is_refused() -> None:
    with pytest.raises(ModelUnavailableError, match="xlm-roberta-large in its name"):
        llmlingua("gpt2")(PROSE, 0.5)


def test_what_a_model_shortens_still_ends_within_the_budget_and_what_is_preserved_stays() -> None:
    def shorten(text: str, share: float) -> list[Edit]:
        assert 0 < share < 1
        return without(text, ["really", "entirely", "to", "so", "speak,", "disk."])

    compressor = PromptCompressor(tokenizer=counter("estimated"), shorten=shorten)
    for ratio in (0.8, 0.3):
        result = compressor.compress(PROSE, ratio=ratio, query="What failed?", preserve=["the disk."])
        assert result.tokens_after <= ratio * result.tokens_before
        assert "llmlingua" in [step.name for step in result.steps]
        assert "really" not in result.text
        assert "the disk." in result.text
        assert not result.lossless
        assert all(PROSE[start:end] in result.text for start, end in result.kept)


def test_where_nothing_has_to_go_no_model_is_asked() -> None:
    compressor = PromptCompressor(
        tokenizer=counter("estimated"), shorten=llmlingua("no-such-bert-base-multilingual-cased")
    )
    assert compressor.compress(PROSE, ratio=1).lossless
