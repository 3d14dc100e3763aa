"""`search` as a person at a shell uses it: choices, reasons, every workspace, and a misspelt one."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reasoning_bank.cli import main

Run = Callable[..., tuple[int, str, str]]
TASK = "rotate the database password"
ROWS = [
    (
        "Rotate the database password",
        {"title": "Rotate in two steps", "content": "Add the new one, call connect_pool()"},
    ),
    ("Rotate the database password", {"title": "Rotate in two steps now", "content": "Add the new one, call it"}),
    ("Rotate the mail password", {"title": "Rotate at night", "content": "Nobody sends then", "speaker": "Ann"}),
    ("Bake sourdough bread", {"title": "Let it rest", "content": "Keep the dough at 24 degrees"}),
]


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a bank whose two workspaces know the same; no test changes it."""
    place = tmp_path_factory.mktemp("searching")
    rows = place / "rows.jsonl"
    lines = [json.dumps({"id": f"r{n}", "text": text, "metadata": about}) for n, (text, about) in enumerate(ROWS)]
    rows.write_text("\n".join(lines), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REASONING_BANK_EMBEDDINGS__BACKEND", "hashing")
        patch.setenv("REASONING_BANK_ASSETS__ALLOW_DOWNLOAD", "false")
        patch.setenv("XDG_CONFIG_HOME", str(place))
        for workspace in ("ops", "web"):
            with pytest.raises(SystemExit) as end:
                main(["import", str(rows), "-w", workspace, "--data-dir", str(place / "bank")])
            assert not end.value.code
    return place / "bank"


@pytest.fixture
def run(bank: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs a command on that bank; returns exit code, stdout, stderr."""
    monkeypatch.setenv("REASONING_BANK_EMBEDDINGS__BACKEND", "hashing")
    monkeypatch.setenv("REASONING_BANK_RETRIEVAL__FLOOR", "0")
    monkeypatch.setenv("REASONING_BANK_DATA_DIR", str(bank))
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()  # what setting up the bank printed
        with pytest.raises(SystemExit) as end:
            main(list(arguments))
        out, err = capfd.readouterr()
        return int(end.value.code or 0), out, err

    return call


def found(run: Run, *arguments: str) -> Any:
    code, out, err = run("search", TASK, *arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def titles(answer: Any) -> list[str]:
    return [memory["title"] for memory in answer["memories"]]


def test_search_can_leave_out_what_was_shown_repeats_or_comes_from_one_source(run: Run) -> None:
    first = found(run, "-w", "ops", "-k", "4")
    assert len(first["memories"]) == 4
    shown = first["memories"][0]
    assert shown["title"] not in titles(found(run, "-w", "ops", "-k", "4", "--exclude", shown["id"]))
    assert len(found(run, "-w", "ops", "-k", "4", "--near-duplicates", "0.5")["memories"]) == 3
    assert len(found(run, "-w", "ops", "-k", "4", "--per-trace", "1", "--per-actor", "1")["memories"]) == 4
    assert len(found(run, "-w", "ops", "-k", "4", "--group-by-trace")["memories"]) == 4


def test_a_preset_brings_its_own_number_unless_one_is_given(run: Run) -> None:
    assert len(found(run, "-w", "ops")["memories"]) == 3
    assert len(found(run, "-w", "ops", "--preset", "paper")["memories"]) == 1
    assert len(found(run, "-w", "ops", "--preset", "conversation")["memories"]) == 4
    assert len(found(run, "-w", "ops", "--preset", "conversation", "-k", "2")["memories"]) == 2


def test_detail_decides_how_much_is_said_of_each_memory(run: Run) -> None:
    full, index = (run("search", TASK, "-w", "ops", "--detail", detail)[1] for detail in ("full", "index"))
    assert "connect_pool" in full
    assert "Rotate in two steps" in index
    assert "connect_pool" not in index
    block = run("search", TASK, "-w", "ops", "--detail", "index", "--context")[1]
    assert "Rotate in two steps" in block
    assert "connect_pool" not in block


def test_an_explanation_shows_the_plan_and_what_became_of_each_memory(run: Run) -> None:
    code, out, _ = run("search", f"{TASK} with connect_pool", "-w", "ops", "-k", "1", "--explain")
    assert code == 0
    lines = out.splitlines()
    assert any(line.startswith("read as") and "symbols connect_pool" in line for line in lines)
    assert any(line.startswith("searched") and "4 candidates" in line for line in lines)
    assert any(line.startswith("not by temporal") for line in lines)
    header = next(line for line in lines if line.startswith("memory"))
    assert header.split() == [
        *("memory", "title", "decision", "relevance", "fused"),
        *("semantic", "keyword", "entity", "moved", "by"),
    ]
    assert sum("chosen" in line for line in lines) == 1
    assert sum("beyond k" in line for line in lines) == 3


def test_an_explanation_in_json_has_every_number(run: Run) -> None:
    told = found(run, "-w", "ops", "-k", "1", "--explain")["explanation"]
    assert told["intent"]["kind"] == "task"
    assert told["plan"]["candidates"] == 4
    best = told["considered"][0]
    assert (best["decision"], best["standings"]["keyword"]["rank"]) == ("chosen", 1)
    assert {"id", "fused", "relevance", "adjustments"} <= set(best)
    assert "explanation" not in found(run, "-w", "ops", "-k", "1")


def test_all_workspaces_are_searched_and_each_memory_says_whose_it_is(run: Run) -> None:
    answer = found(run, "--all-workspaces", "-k", "2", "--explain")
    assert [memory["workspace"] for memory in answer["memories"]] == ["ops", "web"]
    assert set(answer["answers"]) == {"ops", "web"}
    assert all(each["explanation"]["considered"] for each in answer["answers"].values())
    out = run("search", TASK, "--all-workspaces", "-k", "2", "--explain")[1]
    assert ", in ops" in out
    assert "In web\n" in out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--all-workspaces", "-w", "ops"), "--all-workspaces does not go with --workspace: it searches them all"),
        (("--all-workspaces", "--context"), "an assistant only ever reads one workspace"),
        (("--per-trace", "0"), "'--per-trace': 0 is not in the range x>=1"),
        (("--per-actor", "x"), "'--per-actor': 'x' is not a valid integer"),
        (("--near-duplicates", "1.5"), "'--near-duplicates': 1.5 is not in the range 0<x<=1"),
        (("--near-duplicates", "0"), "0.0 is not in the range 0<x<=1"),
        (("--preset", "papier"), "'papier' is not one of 'default', 'paper', 'conversation'"),
        (("--detail", "some"), "'some' is not one of 'index', 'full'"),
    ],
)
def test_a_choice_that_cannot_be_is_wrong_usage(run: Run, arguments: tuple[str, ...], told: str) -> None:
    code, out, err = run("search", TASK, *arguments)
    assert (code, out) == (2, "")
    assert told in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("command", [("search", TASK), ("stats",)])
def test_a_workspace_that_is_not_there_is_named_with_those_that_are(run: Run, command: tuple[str, ...]) -> None:
    code, _, err = run(*command, "-w", "opps")
    assert (code, err) == (0, "warning: the bank has no workspace 'opps' (there are: ops, web)\n")
    assert run(*command, "-w", "ops")[2] == ""


def test_stats_of_a_process_that_did_nothing_show_no_rows_of_zeros(run: Run) -> None:
    out = run("stats", "-w", "ops")[1]
    assert "4 memories of 4 traces" in out
    assert "cache of" not in out
    assert "found by" not in out


def test_an_excluded_id_that_is_not_there_is_named(run: Run) -> None:
    code, _, err = run("search", TASK, "-w", "ops", "--exclude", "m_nothere")
    assert (code, err) == (0, "warning: no memory 'm_nothere' in 'ops': nothing is excluded by it\n")
