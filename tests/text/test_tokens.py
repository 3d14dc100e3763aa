import base64
import hashlib
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning_bank.assets.catalog import CATALOG
from reasoning_bank.errors import InputError
from reasoning_bank.text import tokens
from reasoning_bank.text.tokens import ESTIMATED, TokenCounter, counter, estimate

PROSE = (
    "The cache was cold after the restart, so the first request took three seconds. "
    "We warmed it in the background and measured again: 40 ms at the median.\n"
)
CODE = (
    'def read(path: str) -> bytes:\n    """Return all bytes."""\n'
    '    with open(path, "rb") as file:\n        return file.read()\n'
)


BYTE_RANKS = b"".join(base64.b64encode(bytes([byte])) + b" %d\n" % byte for byte in range(256))


@pytest.fixture
def byte_ranks_are_right(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("o200k_base", "cl100k_base"):
        monkeypatch.setitem(tokens._SHA256, name, hashlib.sha256(BYTE_RANKS).hexdigest())


@pytest.fixture(scope="session", params=["o200k_base", "cl100k_base"])
def exact(request: pytest.FixtureRequest, assets_dir: Path) -> TokenCounter:
    found = counter(request.param, assets_dir)
    if not found.exact:
        pytest.skip("no token ranks installed (make install)")
    return found


def bytes_as_ranks(folder: Path, name: str) -> Path:
    """The smallest valid rank file: each byte is one token."""
    path = folder / f"{name}.tiktoken"
    path.write_bytes(BYTE_RANKS)
    return path


@pytest.mark.usefixtures("byte_ranks_are_right")
def test_ranks_are_found_as_file_folder_or_assets_directory(tmp_path: Path) -> None:
    (tmp_path / "tiktoken").mkdir()
    path = bytes_as_ranks(tmp_path / "tiktoken", "o200k_base")
    for place in (path, path.parent, tmp_path):
        found = counter("o200k_base", place)
        assert (found.name, found.exact, found.count("héllo")) == ("o200k_base", True, 6)


def test_without_ranks_the_counter_says_that_it_estimates(tmp_path: Path) -> None:
    for found in (counter("o200k_base"), counter("o200k_base", tmp_path), counter(ESTIMATED, tmp_path)):
        assert (found.name, found.exact) == (ESTIMATED, False)
        assert found.count(PROSE) == estimate(PROSE)


def test_an_unknown_tokenizer_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"'gpt5'.*o200k_base"):
        counter("gpt5")


@pytest.mark.parametrize("content", [b"this is not a rank file", b"", BYTE_RANKS])
def test_altered_ranks_leave_an_announced_estimator(
    content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "o200k_base.tiktoken"
    path.write_bytes(content)
    found = counter("o200k_base", path)
    assert found.count(PROSE) == estimate(PROSE)
    assert (found.name, found.exact) == (ESTIMATED, False)
    assert "sha256 is wrong" in caplog.text


def test_the_hashes_are_those_of_the_installed_assets() -> None:
    for name, sha256 in tokens._SHA256.items():
        assert [file.sha256 for file in CATALOG[name].files] == [sha256]


@pytest.mark.usefixtures("byte_ranks_are_right")
def test_threads_that_count_first_at_the_same_time_agree(tmp_path: Path) -> None:
    found = counter("cl100k_base", bytes_as_ranks(tmp_path, "cl100k_base"))
    counts: list[int] = []
    gate = threading.Barrier(4)

    def count() -> None:
        gate.wait(5)
        counts.append(found.count("four"))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert counts == [4, 4, 4, 4]


def test_known_counts_of_the_real_tokenizers(exact: TokenCounter) -> None:
    known = {"o200k_base": (2, 5), "cl100k_base": (2, 9)}[exact.name]
    assert (exact.count("hello world"), exact.count("人工智能记忆库")) == known
    assert exact.count("<|endoftext|>") > 1
    assert exact.count("") == 0


def test_a_long_text_counts_the_same_in_pieces(exact: TokenCounter) -> None:
    """A text longer than one piece is cut only where tokens end."""
    unit = PROSE + CODE
    assert exact.count(unit * 1500) == 1500 * exact.count(unit)


@pytest.mark.parametrize("run", [" ", "\n", "a", "!", "中", "\t \n"])
def test_a_megabyte_of_one_character_neither_panics_nor_hangs(exact: TokenCounter, run: str) -> None:
    """tiktoken 0.14 panics on a million blanks in one piece."""
    assert exact.count(run * (1_000_000 // len(run)) + "x") > 0


@pytest.mark.parametrize("text", [PROSE * 20, CODE * 20, '{"id": 17, "name": "a_b", "ok": true}\n' * 40])
def test_estimates_are_near_the_exact_counts(exact: TokenCounter, text: str) -> None:
    assert abs(estimate(text) / exact.count(text) - 1) < 0.15


@given(st.text())
def test_an_estimate_is_never_zero_for_text_and_never_negative(text: str) -> None:
    assert (estimate(text) > 0) == bool(text)
