"""`compress` as a person at a shell uses it: a filter."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reasoning_bank.cli import main

Run = Callable[..., tuple[int, str, str]]
SENTENCES = [f"On day {n} the visitors of group {n} walked through garden {n} and liked it. " for n in range(60)]
NEEDLE = "The export failed because the disk of host db-07 was full. "
PROMPT = "".join([*SENTENCES[:30], NEEDLE, *SENTENCES[30:]])


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs the filter by words alone, tokens estimated; returns exit code, stdout, stderr."""
    monkeypatch.setenv("REASONING_BANK_COMPRESSION__TOKENIZER", "estimated")
    monkeypatch.setenv("REASONING_BANK_EMBEDDINGS__BACKEND", "hashing")
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str | Path, stdin: bytes = PROMPT.encode()) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        with pytest.raises(SystemExit) as end:
            main(["compress", *(str(argument) for argument in arguments)])
        out, err = capfd.readouterr()
        return int(end.value.code or 0), out, err

    return call


def json_of(answer: tuple[int, str, str]) -> Any:
    code, out, err = answer
    assert code == 0, err
    return json.loads(out)


def test_a_prompt_goes_in_and_a_shorter_one_comes_out(run: Run) -> None:
    code, out, err = run("--max-tokens", "100", "--query", "Why did the export fail?")
    assert (code, err) == (0, "")
    assert NEEDLE.strip() in out
    assert len(out) < len(PROMPT) / 4


def test_a_file_can_be_named_instead(run: Run, tmp_path: Path) -> None:
    (tmp_path / "prompt.txt").write_text(PROMPT, encoding="utf-8")
    assert run("prompt.txt", "--ratio", "0.5", stdin=b"")[1] == run("--ratio", "0.5")[1]


def test_json_tells_everything_and_offsets_lead_back(run: Run) -> None:
    told = json_of(run("--json", "--ratio", "0.3", "-q", "export", "--no-meaning"))
    assert told["tokens_after"] <= 0.3 * told["tokens_before"]
    assert told["ratio"] == pytest.approx(told["tokens_after"] / told["tokens_before"], abs=1e-4)
    assert (told["tokenizer"], told["exact"], told["error"], told["degraded"]) == ("estimated", False, 0.05, [])
    assert all(PROMPT[start:end].strip() in told["text"] for start, end in told["kept"])
    assert told["segments"][0]["kind"] == "prose"


def test_stats_go_to_stderr_so_that_the_filter_stays_one(run: Run) -> None:
    code, out, err = run("--stats", "--ratio", "0.3", "-q", "export")
    assert code == 0
    assert out == run("--ratio", "0.3", "-q", "export")[1]
    assert "estimated, within about 5%" in err
    assert "units_by_question" in err


def test_a_diff_shows_what_went(run: Run) -> None:
    lines = "".join(f"{sentence}\n\n" for sentence in SENTENCES).encode()
    _, out, _ = run("--diff", "--ratio", "0.5", stdin=lines)
    assert out.startswith("--- prompt\n+++ compressed\n")
    assert any(line.startswith("-On day") for line in out.splitlines())


def test_what_is_to_be_preserved_stays_literals_and_patterns(run: Run) -> None:
    _, out, _ = run("--max-tokens", "120", "--preserve", "garden 7 ", "--preserve", r"re:group 5\d\b", "-q", "export")
    assert "garden 7 " in out
    assert all(f"group {n} " in out for n in range(50, 60)) or "group 5" in out


@pytest.mark.parametrize(
    ("arguments", "stdin", "said", "code"),
    [
        ((), b" \n ", "prompt is empty", 1),
        (("--ratio", "0"), b"x", "ratio is 0.0", 1),
        (("--max-tokens", "-3"), b"x", "max_tokens is -3", 1),
        (("--tokenizer", "abacus"), b"x", "unknown tokenizer 'abacus'", 2),
        (("--preserve", "re:("), b"x", "pattern 're:('", 1),
        ((), b"\x89PNG\r\n\x1a\n", "no UTF-8 text (byte 0)", 1),
        ((), b"a\0b", "NUL characters", 1),
        (("--preserve", PROMPT, "--max-tokens", "10", "--on-overflow", "error"), PROMPT.encode(), "protected takes", 1),
    ],
)
def test_what_cannot_be_done_is_one_line_that_says_why(
    run: Run, arguments: tuple[str, ...], stdin: bytes, said: str, code: int
) -> None:
    exit_code, out, err = run(*arguments, stdin=stdin)
    assert (exit_code, out) == (code, "")
    assert said in err
    assert err.count("\n") == 1


def test_a_diff_within_json_is_refused(run: Run) -> None:
    code, out, err = run("--diff", "--json")
    assert (code, out) == (2, "")
    assert "--diff and --json exclude each other" in err


def test_line_ends_and_a_byte_order_mark_go_out_as_they_came_in(run: Run) -> None:
    prompt = "\ufeffone\r\ntwo\r\n"
    assert json_of(run("--json", "--ratio", "1", stdin=prompt.encode()))["text"] == prompt


def test_where_nothing_fits_the_command_says_so(run: Run) -> None:
    code, out, err = run(stdin=b"supercalifragilisticexpialidocious")
    assert (code, out) == (0, "[…]")
    assert "nothing of the prompt fits" in err


def test_on_a_terminal_the_result_ends_its_line() -> None:
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "reasoning_bank", "compress", "--ratio", "1", "--tokenizer", "estimated"]
    subprocess.run(command, input=b"Say hello", stdout=theirs, check=True, timeout=60)
    os.close(theirs)
    shown = os.read(ours, 100)
    os.close(ours)
    assert shown == b"Say hello\r\n"


def test_a_model_is_asked_unless_it_should_not_be(run: Run) -> None:
    with_model = json_of(run("--json", "--ratio", "0.3", "-q", "export"))
    assert with_model["degraded"] == []
    assert json_of(run("--json", "--ratio", "0.3", "-q", "export", "--no-meaning"))["degraded"] == []
