"""`--batch`: JSON lines in, JSON lines out, in order; one bad line takes nothing from the others."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reasoning_bank.cli import main

Run = Callable[..., tuple[int, list[dict[str, Any]], str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs a command on lines; returns exit code, the lines of stdout, stderr."""
    monkeypatch.setenv("REASONING_BANK_EMBEDDINGS__BACKEND", "hashing")
    monkeypatch.setenv("REASONING_BANK_RETRIEVAL__FLOOR", "0")
    monkeypatch.setenv("REASONING_BANK_WORKSPACE", "w")

    def call(command: str, lines: list[Any], *options: str) -> tuple[int, list[dict[str, Any]], str]:
        file = tmp_path / "lines.jsonl"
        told = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
        file.write_bytes(b"\n".join(told) + b"\n\n")
        with pytest.raises(SystemExit) as end:
            main([command, "--batch", str(file), *options])
        out, err = capfd.readouterr()
        return int(end.value.code or 0), [json.loads(line) for line in out.splitlines()], err

    return call


def test_lists_are_stored_and_searched(run: Run) -> None:
    traces = [
        {
            "task": f"Repair widget{number}",
            "memories": [
                {
                    "title": f"About widget{number}",
                    "content": f"Turn screw {number} of widget{number} to the left first.",
                }
            ],
        }
        for number in range(3)
    ]
    code, stored, _ = run("store", [*traces, "Only a task", {"tusk": 1}, b"{"], "--tag", "nightly")
    assert code == 1
    assert [sorted(each)[0] for each in stored] == ["distil_request"] * 4 + ["error"] * 2
    assert "unknown 'tusk'" in stored[4]["error"]
    assert [each["trace_id"] for each in run("store", traces, "--tag", "nightly")[1]] == [
        each["trace_id"] for each in stored[:3]
    ]
    queries = [
        "Repair widget1",
        {"task": "Repair widget2", "tags": ["nightly"]},
        {"task": "Repair widget0", "tags": ["no"]},
    ]
    code, found, err = run(
        "search", [*queries, {"task": "x", "k": "many"}, {"task": "x", "since": "2999-01-01"}], "-k", "1"
    )
    titles = [[memory["title"] for memory in each.get("memories", [])] for each in found]
    assert titles == [["About widget1"], ["About widget2"], [], [], []]
    assert found[3]["error"].startswith("k: ")
    assert (code, found[4]["memories"]) == (1, [])
    assert "1 of 5 lines were refused" in err


def test_prompts_are_compressed_each_with_its_own_bounds(run: Run) -> None:
    prompt = "The cat sat on the mat. Dogs bark at night. " * 20
    lines = [prompt, {"prompt": prompt, "ratio": 0.25}, {"prompt": ""}, {"prompt": "x", "ratio": "half"}]
    code, short, _ = run("compress", lines, "--ratio", "0.5", "--tokenizer", "estimated", "--no-meaning")
    assert code == 1
    assert short[1]["tokens_after"] < short[0]["tokens_after"] < short[0]["tokens_before"]
    assert [list(each) for each in short[2:]] == [["error"], ["error"]]


@pytest.mark.parametrize(
    "arguments",
    [["search", "a task", "--batch", "-"], ["search", "--batch", "-", "--all-workspaces"],
     ["store", "a task", "--batch", "-"], ["compress", "--batch", "-", "--diff"]],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert "--batch" in capfd.readouterr().err
