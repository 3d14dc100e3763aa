"""`reasoning_bank.compress`: one call, settings from where they always come from, no bank."""

from pathlib import Path

import pytest

from reasoning_bank import compress
from reasoning_bank.errors import ConfigError

PROMPT = " ".join(f"On day {n} the visitors of group {n} walked through garden {n} and liked it." for n in range(80))


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REASONING_BANK_DATA_DIR", str(tmp_path / "bank"))
    monkeypatch.setenv("REASONING_BANK_EMBEDDINGS__BACKEND", "hashing")
    monkeypatch.setenv("REASONING_BANK_COMPRESSION__RATIO", "0.25")


def test_one_call_compresses_and_opens_no_bank(tmp_path: Path) -> None:
    result = compress(PROMPT, "Who liked garden 7?", tokenizer="estimated")
    assert result.tokens_after <= 0.25 * result.tokens_before
    assert (result.tokenizer, result.degraded) == ("estimated", ())
    assert "garden 7 " in result.text
    assert not (tmp_path / "bank").exists()


def test_words_alone_need_no_model() -> None:
    result = compress(PROMPT, query="Who liked garden 7?", tokenizer="estimated", meaning=False)
    assert "garden 7 " in result.text
    assert result.degraded == ()


def test_a_tokenizer_nobody_knows_is_named() -> None:
    with pytest.raises(ConfigError, match="unknown tokenizer 'abacus'"):
        compress(PROMPT, tokenizer="abacus")
