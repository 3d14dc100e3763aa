"""`reasoning-bank eval` on small sets, through the real server over a real bank."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from reasoning_bank.cli import main

Run = Callable[..., tuple[int, str, str]]
Row = dict[str, Any]
TOWNS = {"north": ("harbour", "lighthouse", "ferry"), "south": ("vineyard", "orchard", "cellar")}


def row(id: str, text: str, **metadata: Any) -> Row:
    return {"id": id, "text": text, "metadata": metadata}


def asked(id: str, text: str, relevant: Sequence[str], **metadata: Any) -> Row:
    return {**row(id, text, **metadata), "relevant": list(relevant)}


def write_set(folder: Path, corpus: Sequence[Row], queries: Sequence[Row]) -> Path:
    folder.mkdir(parents=True)
    for name, rows in (("corpus", corpus), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")
    return folder


@pytest.fixture
def towns(tmp_path: Path) -> Path:
    """Two workspaces of three rows, each row asked for once."""
    rows = [(town, thing) for town, things in TOWNS.items() for thing in things]
    return write_set(
        tmp_path / "data" / "towns",
        [row(f"{town}-{thing}", f"the {thing} opens at nine", workspace=town) for town, thing in rows],
        [
            asked(thing, f"when does the {thing} open", [f"{town}-{thing}"], workspace=town, category=town)
            for town, thing in rows
        ],
    )


@pytest.fixture
def stars(tmp_path: Path) -> Path:
    """One workspace, one of its questions answered from a row that names another: a label, no tenant."""
    return write_set(
        tmp_path / "data" / "stars",
        [row("sirius", "sirius is bright", workspace="sky"), row("moon", "the moon is near", workspace="earth")],
        [asked("q", "which is bright, sirius or the moon", ["sirius", "moon"], workspace="sky")],
    )


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs `eval` with an embedder that needs no model; returns exit code, stdout, stderr."""
    monkeypatch.setenv("REASONING_BANK_EMBEDDINGS__BACKEND", "hashing")
    monkeypatch.setenv("REASONING_BANK_VECTORS__CHROMA_MODE", "off")
    monkeypatch.setenv("REASONING_BANK_COMPRESSION__TOKENIZER", "estimated")

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main(["eval", *(str(argument) for argument in arguments)])
        out, err = capfd.readouterr()
        return int(end.value.code or 0), out, err

    return call


def report_of(answer: tuple[int, str, str]) -> Any:
    code, out, err = answer
    assert code == 0, err
    return json.loads(out)


def test_every_question_is_asked_in_its_own_workspace_and_finds_its_row(run: Run, towns: Path) -> None:
    found = report_of(run(towns, "--json", "-"))["sets"]["towns"]
    assert (found["scoped"], found["memories"], found["workspaces"], found["queries"]) == (True, 6, 2, 6)
    assert found["figures"]["R@1"]["value"] == found["figures"]["nDCG@10"]["value"] == 1.0
    assert found["foreign_items"] == 0
    assert {name: each["queries"] for name, each in found["categories"].items()} == {"north": 3, "south": 3}
    assert found["latency"]["p50_ms"] > 0
    assert "total" in found["stages"]


def test_questions_without_an_answer_are_named(run: Run, tmp_path: Path) -> None:
    rows = [row(f"r{number}", f"the ferry number {number} leaves at nine") for number in range(30)]
    lonely = row("lonely", "xylophone")
    data = write_set(
        tmp_path / "data" / "pier",
        [*rows, lonely],
        [asked("known", "ferry number 7", ["r7"]), asked("lost", "the ferry number 8 leaves at nine", ["lonely"])],
    )
    code, out, _ = run(data)
    assert code == 0
    assert "pier: nothing found for lost\n" in out
    assert report_of(run(data, "--json", "-"))["sets"]["pier"]["missed"] == ["lost"]


def test_a_label_that_answers_cross_is_no_workspace(run: Run, stars: Path) -> None:
    found = report_of(run(stars, "--json", "-"))["sets"]["stars"]
    assert (found["scoped"], found["workspaces"], found["figures"]["R@5"]["value"]) == (False, 1, 1.0)
    scoped = report_of(run(stars, "--scope", "workspace", "--json", "-"))["sets"]["stars"]
    assert (scoped["scoped"], scoped["figures"]["R@5"]["value"]) == (True, 0.5)


def test_everything_at_once_is_a_table_for_people_and_json_in_a_file(
    run: Run, towns: Path, stars: Path, tmp_path: Path
) -> None:
    context = "The ferry leaves at nine.\nNobody knows why the cellar is closed.\nTea is served."
    item = {
        "id": "c",
        "question": "why is the cellar closed",
        "context": context,
        "evidence": [{"start": 26, "end": 64}],
        "answer": "Nobody",
        "metadata": {"mode": "all"},
    }
    (towns.parent / "notes").mkdir()
    (towns.parent / "notes" / "short.jsonl").write_text(json.dumps(item), encoding="utf-8")
    figures = tmp_path / "figures.json"
    code, out, err = run(
        towns.parent, "--baselines", "--stage", "keyword", "--floor-curve", "--json", figures, "-k", "1", "-k", "10"
    )
    assert code == 0, err
    for part in ("towns", "bm25", "By category", "whole call", "Without one stage", "asked in", "floor", "short"):
        assert part in out
    report = json.loads(figures.read_text(encoding="utf-8"))
    assert list(report["sets"]["towns"]["figures"]) == ["R@1", "R@10", "nDCG@10", "MRR"]
    assert report["baselines"]["towns"]["bm25"]["R@1"]["value"] == 1.0
    assert report["ablation"]["keyword"].keys() == {"towns", "stars"}
    pairs = {(pair["questions_of"], pair["asked_in"]) for pair in report["abstention"]["pairs"]}
    assert pairs == {("towns", "towns"), ("towns", "stars"), ("stars", "towns")}
    curve = report["abstention"]["curve"]
    assert (curve[0]["kept"], curve[0]["injected"]) == (1.0, 1.0)
    assert curve[-1]["injected"] < 1.0
    assert report["compression"]["notes/short"]["methods"].keys() >= {"reasoning-bank", "head", "head+tail", "bm25"}


def test_a_kept_bank_is_imported_once_and_again_when_its_rows_changed(run: Run, towns: Path, tmp_path: Path) -> None:
    arguments = (towns, "--data-dir", tmp_path / "kept", "--limit", "2", "--json", "-")
    first = run(*arguments)
    assert "importing towns" in first[2]
    second = run(*arguments)
    assert "importing" not in second[2]
    assert report_of(second)["sets"].keys() == report_of(first)["sets"].keys()
    assert report_of(second)["sets"]["towns"]["queries"] == 2
    with (towns / "corpus.jsonl").open("a", encoding="utf-8") as corpus:
        corpus.write(json.dumps(row("south-press", "the press opens at nine", workspace="south")) + "\n")
    third = run(*arguments)
    assert "importing towns" in third[2]
    assert report_of(third)["sets"]["towns"]["memories"] == 7


def test_rows_without_order_know_no_neighbours(run: Run, tmp_path: Path) -> None:
    talk = [
        row(f"t{turn}", f"turn {turn} about {word}", session=1, turn=turn, speaker="Ann", time="2024-05-01")
        for turn, word in enumerate(("bread", "salt", "water"))
    ]
    folder = write_set(tmp_path / "talk", talk, [asked("q", "about salt", ["t1"])])
    kept = tmp_path / "kept"
    setups = [report_of(run(folder, *order, "--data-dir", kept, "--json", "-")) for order in ((), ("--without-order",))]
    assert [setup["setup"]["ordered"] for setup in setups] == [True, False]
    assert [setup["sets"]["talk"]["memories"] for setup in setups] == [3, 3]


def test_a_banks_own_export_can_be_judged(run: Run, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    mine, drafts = tmp_path / "mine", tmp_path / "drafts.json"
    mine.mkdir()
    content = "Drain the queue first, then stop the workers one after the other."
    drafts.write_text(json.dumps([{"title": "Drain before a stop", "content": content}]), encoding="utf-8")
    for command in (
        ("store", "Stop the workers", "--memories", drafts, "-w", "ops"),
        ("export", mine / "corpus.jsonl"),
    ):
        with pytest.raises(SystemExit):
            main([str(argument) for argument in command])
    capfd.readouterr()
    rows = [json.loads(line) for line in (mine / "corpus.jsonl").read_text(encoding="utf-8").splitlines()]
    (own,) = [each["id"] for each in rows if "text" in each]
    question = asked("q", "how do I stop the workers", [own], workspace="ops")
    (mine / "queries.jsonl").write_text(json.dumps(question), encoding="utf-8")
    found = report_of(run(mine, "--json", "-"))["sets"]["mine"]
    assert (found["figures"]["R@1"]["value"], found["foreign_items"]) == (1.0, 0)


@pytest.mark.slow
def test_over_stdio_a_server_process_gives_the_same_figures(run: Run, towns: Path, tmp_path: Path) -> None:
    kept = ("--data-dir", tmp_path / "kept", "--json", "-")
    here = report_of(run(towns, *kept))
    # A process of its own: the client hands its stderr on to the server, and pytest's is no file.
    done = subprocess.run(
        [sys.executable, "-m", "reasoning_bank", "eval", towns, "--stdio", *kept],
        capture_output=True, encoding="utf-8", timeout=90, check=False,
    )  # fmt: skip
    there = report_of((done.returncode, done.stdout, done.stderr))
    assert (here["setup"]["surface"], there["setup"]["surface"]) == ("in process", "stdio")
    assert there["sets"]["towns"]["figures"] == here["sets"]["towns"]["figures"]
    assert there["setup"]["embedder"] == here["setup"]["embedder"]


@pytest.mark.parametrize(
    ("file", "line", "complaint"),
    [
        ("corpus", '{"id": "x"}', "corpus.jsonl line 7: 'text' is missing"),
        ("corpus", '{"id": "north-ferry", "text": "again"}', "that of line 3: ids must be unique"),
        ("queries", '{"id": "x", "text": "t", "relevant": ["nowhere"]}', "line 7: relevant id 'nowhere' is not in"),
        ("queries", '{"id": "x", "text": "t"}', "line 7: 'relevant' is missing or empty"),
        ("queries", "{", "queries.jsonl line 7: not JSON"),
    ],
)
def test_bad_rows_are_named_by_file_and_line(run: Run, towns: Path, file: str, line: str, complaint: str) -> None:
    with (towns / f"{file}.jsonl").open("a", encoding="utf-8") as rows:
        rows.write(line + "\n")
    code, out, err = run(towns)
    assert (code, out) == (1, "")
    assert complaint in err


def test_what_is_missing_or_misspelt_is_named(run: Run, towns: Path, tmp_path: Path) -> None:
    code, _, err = run(towns.parent, "--set", "twons")
    assert code == 1
    assert "no set 'twons'; did you mean 'towns'? there are: towns" in err
    (towns / "queries.jsonl").unlink()
    code, _, err = run(towns.parent)
    assert code == 1
    assert "towns has no queries.jsonl" in err
    assert run(tmp_path / "nowhere")[0] == 2
    assert "no stage 'titles'; there are: semantic," in run(towns, "--stage", "titles")[2]


def test_a_depth_beyond_what_one_search_may_ask_for_is_refused_at_once(run: Run, towns: Path) -> None:
    code, _, err = run(towns, "-k", "101")
    assert code == 2
    assert "101 is above limits.k, which is 100" in err


def test_a_report_that_could_not_be_written_is_refused_at_once(run: Run, towns: Path, tmp_path: Path) -> None:
    code, _, err = run(towns, "--json", tmp_path / "nowhere" / "figures.json")
    assert code == 2
    assert "there is no directory" in err


@pytest.mark.slow
def test_the_scoping_of_real_sets_is_read_from_where_their_answers_are(eval_data: Path) -> None:
    from reasoning_bank.evaluation.sets import find_sets, read_set

    sets = [read_set(name, folder) for name, folder in find_sets(eval_data).retrieval.items()]
    several = {data.name: data.scoped for data in sets if len({item.space for item in data.items}) > 1}
    pooled = {data.name for data in sets if not data.scoped}
    assert several == {"locomo": True, "swebench": True}
    assert pooled == {"webarena"}


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.usefixtures("minilm")
def test_the_default_model_reaches_its_gate_on_real_tasks(
    run: Run, eval_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """WebArena, because its texts are short; all sets: python -m tests.benchmarks retrieval."""
    monkeypatch.delenv("REASONING_BANK_EMBEDDINGS__BACKEND")
    found = report_of(run(eval_data, "--set", "webarena", "--json", "-"))["sets"]["webarena"]
    assert found["figures"]["R@10"]["value"] >= 0.97
    assert found["figures"]["nDCG@10"]["value"] >= 0.94
    assert found["foreign_items"] == 0
