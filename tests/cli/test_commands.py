"""What each command does to a real bank, as a person at a shell sees it."""

import io
import json
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reasoning_bank.cli import main

Run = Callable[..., tuple[int, str, str]]
ROWS = [
    {"id": "a", "text": "Rotate the database password", "metadata": {"title": "Rotate in two steps", "content": "Add"}},
    {"id": "b", "text": "turn one", "metadata": {"session": 1, "turn": 0, "speaker": "Ann", "time": "2024-05-01"}},
    {"id": "c", "text": "turn two", "metadata": {"session": 1, "turn": 1, "speaker": "Bob", "time": "2024-05-01"}},
]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs a command on the test's own bank; returns exit code, stdout, stderr."""
    monkeypatch.setenv("REASONING_BANK_EMBEDDINGS__BACKEND", "hashing")
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str | Path, stdin: str | None = None) -> tuple[int, str, str]:
        if stdin is not None:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8"))
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return int(end.value.code or 0), out, err

    return call


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Three rows: one alone, two of one session."""
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return path


def json_of(answer: tuple[int, str, str]) -> Any:
    code, out, err = answer
    assert code == 0, err
    return json.loads(out)


def test_import_reports_what_it_did_and_a_second_run_finds_it_done(run: Run, rows: Path) -> None:
    code, out, _ = run("import", rows, "-w", "w")
    assert (code, out) == (0, "3 memories imported; 2 traces in w\n")
    again = json_of(run("import", rows, "-w", "w", "--json"))
    assert (again["rows"], again["created"], again["workspaces"]) == (3, 0, ["w"])


def test_imported_rows_are_embedded_when_import_returns(run: Run, rows: Path) -> None:
    run("import", rows, "-w", "w")
    stats = json_of(run("stats", "-w", "w", "--json"))
    assert (stats["memories"], stats["embedded"], stats["traces"]) == (3, 3, 2)


def test_without_waiting_import_says_what_is_still_to_come(run: Run, rows: Path) -> None:
    code, out, _ = run("import", rows, "--no-wait")
    assert code == 0
    assert "by meaning once" in out


def test_import_waits_for_room_in_the_background_work(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first workspace leaves twenty pieces of work, the second has to wait until nearly all are done."""
    path = tmp_path / "two.jsonl"
    rows = [{"id": f"r{number}", "text": f"lesson {number}"} for number in range(40)]
    path.write_text("".join(json.dumps({**row, "workspace": space}) + "\n" for space in "ab" for row in rows), "utf-8")
    monkeypatch.setenv("REASONING_BANK_BACKGROUND__MAX_PENDING", "1")
    report = json_of(run("import", path, "--json"))
    assert (report["created"], report["workspaces"]) == (80, ["a", "b"])


def test_import_reads_standard_input(run: Run) -> None:
    report = json_of(run("import", "-", "-w", "w", "--json", stdin=json.dumps(ROWS[0])))
    assert report["created"] == 1


def test_a_bad_line_stops_import_before_anything_is_stored_unless_it_may_be_skipped(run: Run, rows: Path) -> None:
    with rows.open("a", encoding="utf-8") as file:
        file.write('{"id": "d"}\n')
    code, out, err = run("import", rows, "-w", "w")
    assert (code, out) == (1, "")
    assert "error: 1 bad line(s), nothing was imported" in err
    assert "line 4: 'text' is missing" in err
    code, out, err = run("import", rows, "-w", "w", "--skip-bad")
    assert code == 0
    assert "3 memories imported" in out
    assert "left out line 4" in err


def test_export_import_export_gives_the_same_bytes_in_a_fresh_bank(run: Run, rows: Path, tmp_path: Path) -> None:
    run("import", rows)
    draft = [
        {"title": "Ask twice", "content": "Ask the owner before a rotation, and once more after it.", "tags": ["ops"]}
    ]
    drafts = tmp_path / "drafts.json"
    drafts.write_text(json.dumps(draft), encoding="utf-8")
    steps = tmp_path / "steps.json"
    steps.write_text('[{"step": 1, "said": "é"}]', encoding="utf-8")
    stored = run("store", "Rotate the key", "--outcome", "failure", "--memories", drafts, "--trajectory", steps)
    assert stored[0] == 0, stored[2]
    first, second, third = (tmp_path / f"{n}.jsonl" for n in range(3))
    code, out, _ = run("export", first)
    assert (code, out) == (0, f"4 memories of 3 traces written to {first}\n")
    assert run("import", first, "--data-dir", tmp_path / "fresh", "--no-wait")[0] == 0
    assert run("export", second, "--data-dir", tmp_path / "fresh")[0] == 0
    assert second.read_bytes() == first.read_bytes()
    assert run("import", first)[0] == 0
    assert run("export", third)[0] == 0
    assert third.read_bytes() == first.read_bytes()


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_an_export_is_for_its_owner_only_and_leaves_no_part_behind(run: Run, rows: Path, tmp_path: Path) -> None:
    run("import", rows, "--no-wait")
    run("export", tmp_path / "out.jsonl")
    assert stat.S_IMODE((tmp_path / "out.jsonl").stat().st_mode) == 0o600
    assert not list(tmp_path.glob("*.part"))


def test_export_without_a_file_writes_only_rows_to_standard_output(run: Run, rows: Path) -> None:
    run("import", rows, "-w", "w", "--no-wait")
    code, out, _ = run("export", "-w", "w")
    assert code == 0
    assert [json.loads(line)["id"] for line in out.splitlines()] == ["a", "b", "c"]


def test_export_of_a_workspace_that_is_not_there_names_those_that_are(run: Run, rows: Path, tmp_path: Path) -> None:
    run("import", rows, "-w", "w", "--no-wait")
    code, _, err = run("export", tmp_path / "out.jsonl", "-w", "v")
    assert (code, err) == (1, "error: no workspace 'v'; there are: w\n")
    assert not (tmp_path / "out.jsonl").exists()


def test_secrets_in_imported_rows_never_reach_the_bank(run: Run, tmp_path: Path) -> None:
    secret = "AKIAIOSFODNN7EXAMPLQ"
    row = {"id": "a", "text": f"use {secret}", "metadata": {"note": secret, "content": secret}}
    code, out, err = run("import", "-", "-w", "w", "--no-wait", stdin=json.dumps(row))
    assert (code, "1 memories imported" in out) == (0, True), err
    assert "[REDACTED:" in run("export")[1]
    assert secret.encode() not in b"".join(
        path.read_bytes() for path in (tmp_path / "bank").rglob("*") if path.is_file()
    )


def test_search_shows_what_it_found_and_how_relevant_it_is(run: Run, rows: Path) -> None:
    run("import", rows, "-w", "w")
    found = json_of(run("search", "rotate the database password", "-w", "w", "-k", "1", "--min-score", "0", "--json"))
    assert [memory["external_id"] for memory in found["memories"]] == ["a"]
    assert found["degraded"] == []
    code, out, _ = run("search", "rotate the database password", "-w", "w", "-k", "1", "--min-score", "0")
    assert code == 0
    assert out.startswith("1. Rotate in two steps\n   relevance ")
    context = run("search", "rotate the database password", "-w", "w", "--min-score", "0", "--context")[1]
    assert "Rotate in two steps" in context


def test_search_says_honestly_that_nothing_is_relevant(run: Run, rows: Path) -> None:
    run("import", rows, "-w", "w")
    assert run("search", "sourdough pizza", "-w", "w")[1].startswith("Nothing relevant.")


def test_a_time_that_is_none_is_wrong_usage(run: Run) -> None:
    code, _, err = run("search", "x", "--since", "yesterday")
    assert code == 2
    assert "'yesterday' is no ISO 8601 time" in err


def test_store_distils_and_a_repeated_key_changes_nothing(run: Run, tmp_path: Path) -> None:
    drafts = tmp_path / "drafts.json"
    content = "Add the new password beside the old one, switch the clients, then remove the old one."
    drafts.write_text(json.dumps([{"title": "Rotate in two steps", "content": content}]), encoding="utf-8")
    arguments = ("store", "-", "--outcome", "success", "--memories", drafts, "--key", "k1", "-w", "w", "--json")
    stored = json_of(run(*arguments, stdin="Rotate the database password"))
    assert [memory["action"] for memory in stored["memories"]] == ["created"]
    again = json_of(run(*arguments, stdin="Rotate the database password"))
    assert again["replayed"]
    assert again["trace_id"] == stored["trace_id"]
    assert "nothing changed" in run(*arguments[:-1], stdin="Rotate the database password")[1]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "not JSON"),
        ("{}", "must be a list"),
        ("[1]", "must be an object"),
        ('[{"titel": "x"}]', "unknown 'titel'; a memory has content,"),
        ('[{"title": 1}]', "'title' must be text"),
    ],
)
def test_drafts_that_cannot_be_read_say_why(run: Run, tmp_path: Path, text: str, complaint: str) -> None:
    drafts = tmp_path / "drafts.json"
    drafts.write_text(text, encoding="utf-8")
    code, _, err = run("store", "A task", "--memories", drafts)
    assert code == 1
    assert complaint in err


def test_files_that_cannot_be_read_or_written_are_named_in_one_line(run: Run, tmp_path: Path) -> None:
    binary, missing = tmp_path / "session.bin", tmp_path / "nowhere" / "rows.jsonl"
    binary.write_bytes(b"\xff\xfe\x00")
    code, _, err = run("store", "A task", "--trajectory", binary)
    assert (code, err) == (1, f"error: --trajectory: {binary} is not UTF-8 text\n")
    code, _, err = run("export", missing)
    assert (code, err) == (1, f"error: {missing}.part: No such file or directory\n")


def test_a_trajectory_that_is_no_json_is_kept_as_text(run: Run, tmp_path: Path) -> None:
    session = tmp_path / "session.log"
    session.write_text("[" * 5_000, encoding="utf-8")
    code, out, err = run("store", "A task", "--trajectory", session)
    assert (code, err) == (0, "")
    assert out.startswith("trace tr_")


def test_doctor_finds_a_new_bank_well_and_names_the_workspace_and_why(run: Run) -> None:
    checks = {check["name"]: check for check in json_of(run("doctor", "--json"))}
    assert checks["workspace"]["detail"].startswith("default, by no setting")
    assert {check["status"] for check in checks.values()} <= {"ok", "warning"}
    code, out, _ = run("doctor", "--rebuild-index")
    assert code == 0
    assert "workspace" in out


def test_doctor_reports_a_damaged_bank_with_advice_and_exit_code_1(run: Run, rows: Path, tmp_path: Path) -> None:
    run("import", rows, "--no-wait")
    database = tmp_path / "bank" / "bank.sqlite3"
    before = b"not a database" * 1000
    database.write_bytes(before)
    code, out, _ = run("doctor")
    assert code == 1
    assert "FAIL" in out
    assert "->" in out
    assert database.read_bytes() == before


def test_stats_are_readable_and_complete(run: Run, rows: Path) -> None:
    run("import", rows, "-w", "w")
    code, out, _ = run("stats", "-w", "w")
    assert code == 0
    assert "workspace w" in out
    assert "3 memories of 2 traces, 3 embedded" in out


def test_a_model_that_does_not_answer_in_time_is_told_and_what_it_spent_today(run: Run, tmp_path: Path) -> None:
    script = tmp_path / "script.toml"
    script.write_text('[[reply]]\nerror = "overloaded"\n', encoding="utf-8")
    config = tmp_path / "config.toml"
    provider = f"[llm.providers.own]\nkind = 'scripted'\nscript = '{script}'\n"
    config.write_text(f"[llm]\nmodel = 'own:any'\ntokens_per_day = 5000\n{provider}", encoding="utf-8")
    notes = tmp_path / "notes.txt"
    notes.write_text("The import stopped because the disk was full; clear /var/tmp before it runs.", encoding="utf-8")
    told = ("store", "Import the orders", "--outcome", "failure", "--trajectory", notes, "-w", "w", "--config", config)
    assert "(--wait SECONDS waits for it)" in run(*told)[1]
    assert "no language model has answered within 0.1 s" in run(*told, "--key", "again", "--wait", "0.1")[1]
    out = run("stats", "-w", "w", "--config", config)[1]
    assert "of 5,000 tokens today" in out
    assert "loading" not in out


def test_what_was_refused_is_counted_in_the_stats(run: Run) -> None:
    run("capture", "How are you?", "Fine thanks!", "-w", "w")
    assert "refused" in run("stats", "-w", "w")[1]


def test_a_token_is_shown_once_listed_without_its_secret_and_revoked(run: Run) -> None:
    made = json_of(run("token", "create", "laptop", "-w", "w", "--scope", "read", "--days", "2", "--json"))
    assert made["token"].startswith("rb_")
    (listed,) = json_of(run("token", "list", "--json"))
    assert (listed["id"], listed["name"], listed["workspace"], listed["scopes"]) == (
        made["id"],
        "laptop",
        "w",
        ["read"],
    )
    assert made["token"] not in run("token", "list")[1]
    assert run("token", "revoke", made["id"])[1] == f"{made['id']} is revoked\n"
    assert run("token", "revoke", made["id"])[0] == 1
    assert json_of(run("token", "list", "--json"))[0]["revoked_at"]


def test_a_workspace_can_block_secrets_that_others_redact(run: Run) -> None:
    run("store", "A first task", "-w", "strict")
    assert run("workspace", "privacy", "strict", "block") == (0, "strict: block\n", "")
    code, _, err = run("store", "use AKIAIOSFODNN7EXAMPLQ now", "-w", "strict")
    assert code == 1
    assert "AKIA" not in err
    assert "strict" in run("workspace", "list")[1]
