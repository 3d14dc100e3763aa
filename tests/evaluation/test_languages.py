"""What is found in languages the default model was not made for: much by words, little across languages."""

from collections import Counter
from pathlib import Path

import pytest

from reasoning_bank.embeddings.embedder import Embedder
from tests.evaluation.languages import PAIRS, WORDS_ALONE, recall


def test_there_are_five_pairs_in_each_of_six_languages() -> None:
    assert {language: len(pairs) for language, pairs in PAIRS.items()} == dict.fromkeys(PAIRS, 5)
    texts = Counter(text for pairs in PAIRS.values() for pair in pairs for text in (pair.question, pair.memory))
    assert set(texts.values()) == {1}


@pytest.mark.parametrize("language", ["Chinese", "Japanese"])
async def test_words_alone_carry_languages_without_blanks(hashing: Embedder, tmp_path: Path, language: str) -> None:
    recalls = await recall(hashing, tmp_path / "bank.db", english=False, without=WORDS_ALONE)
    assert recalls[language].first >= 0.8
    assert recalls[language].among_three == 1


async def test_words_alone_carry_most_of_all_languages(hashing: Embedder, tmp_path: Path) -> None:
    recalls = await recall(hashing, tmp_path / "bank.db", english=False, without=WORDS_ALONE)
    assert sum(each.among_three for each in recalls.values()) / len(recalls) >= 0.85


async def test_the_default_model_finds_what_was_said_in_the_language_of_the_question(
    minilm: Embedder, tmp_path: Path
) -> None:
    recalls = await recall(minilm, tmp_path / "bank.db", english=False)
    assert sum(each.among_three for each in recalls.values()) / len(recalls) >= 0.9


async def test_the_default_model_does_not_translate(minilm: Embedder, tmp_path: Path) -> None:
    """Were this to fail, the documentation could promise more than it does."""
    recalls = await recall(minilm, tmp_path / "bank.db", english=True)
    for language in ("Russian", "Chinese", "Japanese"):
        assert recalls[language].among_three <= 0.4
