"""`reasoning-bank bench`: its table and its JSON, and a run held to an earlier one."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from reasoning_bank.cli import main
from reasoning_bank.errors import InputError
from reasoning_bank.evaluation.bench.claims import CLAIMS
from reasoning_bank.evaluation.bench.comparing import Results, compare, other_machine, read_results
from reasoning_bank.evaluation.bench.machine import machine
from reasoning_bank.evaluation.bench.rows import Measured, Row

Run = Callable[..., tuple[int, str, str]]


def row(name: str, ratio: float, *, spread: float = 0.0) -> Row:
    measured = Measured(ratio, 1.0, "ms", ratio, ratio - spread, ratio + spread, n=20)
    return Row(name, "a claim", ("without", "with"), "a reason", measured)


def results(*rows: Row) -> Results:
    return Results(machine(), "quick", rows)


def verdicts(then: Results, now: Results) -> dict[str, str]:
    return {change.name: change.verdict for change in compare(then, now)}


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `bench --quick` on one row that needs no weights; returns exit code, stdout, stderr."""
    monkeypatch.setenv("REASONING_BANK_EMBEDDINGS__BACKEND", "hashing")

    def bench(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main(["bench", "--quick", *arguments])
        out, err = capfd.readouterr()
        return int(left.value.code or 0), out, err

    return bench


def test_a_ratio_that_lost_more_than_a_fifth_is_worse() -> None:
    then = results(row("kept", 2.0), row("worse", 2.0), row("better", 2.0))
    now = results(row("kept", 1.61), row("worse", 1.59), row("better", 2.41))
    assert verdicts(then, now) == {"kept": "kept", "worse": "worse", "better": "better"}


def test_a_ratio_whose_interval_meets_that_of_the_earlier_one_is_not_held_against_the_code() -> None:
    then = results(row("noisy", 2.0, spread=0.2))
    assert verdicts(then, results(row("noisy", 1.5, spread=0.4))) == {"noisy": "kept"}
    assert verdicts(then, results(row("noisy", 1.5, spread=0.2))) == {"noisy": "worse"}
    assert verdicts(then, results(row("noisy", 2.5, spread=0.4))) == {"noisy": "kept"}
    assert verdicts(then, results(row("noisy", 2.5, spread=0.2))) == {"noisy": "better"}


def test_a_row_that_is_missing_or_could_not_be_measured_is_told_with_the_reason() -> None:
    then = results(row("gone", 2.0), row("skipped", 2.0))
    now = results(replace(row("skipped", 1.0), measured=None, skipped="no weights"), row("young", 3.0))
    changes = {change.name: (change.verdict, change.reason) for change in compare(then, now)}
    assert changes == {
        "gone": ("missing", "no such row any more"),
        "skipped": ("missing", "no weights"),
        "young": ("new", ""),
    }


def test_a_row_that_is_measured_in_another_way_is_a_new_one() -> None:
    then = results(row("ways", 9.0), row("unit", 9.0))
    in_tokens = replace(row("unit", 1.0), measured=Measured(1.0, 1.0, "tokens", 1.0, 1.0, 1.0, n=20))
    now = results(replace(row("ways", 1.0), ways=("without", "with more")), in_tokens)
    assert verdicts(then, now) == {"ways": "new", "unit": "new"}


def test_results_say_of_which_commit_they_are() -> None:
    commit = machine().commit
    assert re.fullmatch(r"[0-9a-f]{7,40}(-dirty)?", commit) or not (Path(__file__).parents[2] / ".git").exists()


def test_rows_that_were_not_asked_for_are_not_missed() -> None:
    then = results(row("one", 2.0), row("other", 2.0))
    assert [change.name for change in compare(then, results(row("one", 2.0)), only=["one"])] == ["one"]


def test_another_machine_is_told_by_what_differs() -> None:
    here = results()
    there = replace(here, machine=replace(here.machine, cores=96, load_1_min=0.0, commit="0"))
    assert other_machine(there, here) == [f"cores: 96 then, {here.machine.cores} now"]
    assert other_machine(here, here) == []


def test_results_come_back_as_they_were_written(tmp_path: Path) -> None:
    written = results(row("one", 2.5), replace(row("none", 1.0), measured=None, skipped="why"))
    file = tmp_path / "results.json"
    file.write_text(written.as_json(), encoding="utf-8")
    assert read_results(file) == written


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("not json", "Invalid JSON"),
        ("{}", "machine: Field required"),
        (json.dumps({"machine": 1, "scale": "quick", "rows": [{"name": "x"}]}), "machine: Input should be"),
    ],
)
def test_a_file_that_is_no_result_is_refused_with_the_reason(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "results.json"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=said) as refused:
        read_results(file)
    assert str(file) in str(refused.value)


def test_json_on_stdout_is_nothing_but_json(run: Run) -> None:
    code, out, _ = run("--only", "compression_simple", "--json")
    assert code == 0
    assert [each["name"] for each in json.loads(out)["rows"]] == ["compression_simple"]


def test_rows_are_shown_and_written_and_one_that_got_worse_fails_the_command(run: Run, tmp_path: Path) -> None:
    then, now = tmp_path / "then.json", tmp_path / "now.json"
    (claim,) = (each for each in CLAIMS if each.name == "parallel_steps")
    then.write_text(results(replace(row(claim.name, 40.0), ways=claim.ways)).as_json(), encoding="utf-8")
    code, out, err = run("--only", "parallel_steps", "--compare", str(then), "--output", str(now))
    assert code == 1
    assert "parallel_steps  one after the other → run_parallel" in out
    assert out.splitlines()[-1].startswith("parallel_steps  40.00x (40 → 1 ms)  ")
    assert err.splitlines() == ["1/1 parallel_steps", "worse than before: parallel_steps"]
    assert [each.name for each in read_results(now).rows if each.measured] == ["parallel_steps"]


def test_a_row_that_could_not_be_measured_does_not_pass_silently(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "then.json"
    file.write_text(results(row("retrieval_100k", 0.5)).as_json(), encoding="utf-8")
    code, out, _ = run("--only", "retrieval_100k", "--compare", str(file))
    assert code == 0
    assert "not measured: retrieval_100k: this scale stops at 1,000 memories" in out
    assert "0.50x (0.5 → 1 ms)  -    not measured  this scale stops at 1,000 memories" in out


def test_a_row_that_was_measured_and_cannot_be_now_fails_the_command(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REASONING_BANK_EMBEDDINGS__BACKEND", "onnx")
    monkeypatch.setenv("REASONING_BANK_ASSETS_DIR", str(tmp_path / "none"))
    file = tmp_path / "then.json"
    file.write_text(results(row("batch_8", 2.0)).as_json(), encoding="utf-8")
    code, _, err = run("--only", "batch_8", "--compare", str(file))
    assert code == 1
    assert err.splitlines()[-1] == "measured before, and not now: batch_8"


def test_a_row_nobody_knows_is_refused_before_anything_is_measured(run: Run) -> None:
    code, _, err = run("--only", "retrieval_1")
    assert code == 2
    assert "no row 'retrieval_1'; did you mean 'retrieval_1k'?" in err


def test_a_file_that_is_no_result_is_refused_before_anything_is_measured(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "then.json"
    file.write_text("[]", encoding="utf-8")
    code, _, err = run("--compare", str(file))
    assert code == 1
    assert err.startswith(f"error: {file} is no result of `reasoning-bank bench --output`")


def test_the_committed_results_are_of_the_claims_that_are_measured_today() -> None:
    """After a claim is reworded, added or measured otherwise: `reasoning-bank bench --output` that file."""
    committed = read_results(Path(__file__).parents[1] / "benchmarks" / "results" / "bench.json")
    said = [(claim.name, claim.said, claim.ways, claim.why) for claim in CLAIMS]
    assert [(row.name, row.claim, row.ways, row.why) for row in committed.rows] == said
