"""Templates: which one answers, what the shipped ones are worth on labelled texts, what a wrong file is told."""

import json
import math
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from reasoning_bank.errors import ConfigError
from reasoning_bank.llm import templates as module
from reasoning_bank.llm.templates import TemplateAnswer, Templates, templates

LABELLED: list[dict[str, Any]] = [
    json.loads(line) for line in Path(__file__).with_name("templates.jsonl").read_text(encoding="utf-8").splitlines()
]
"""Texts with how they ended, or whether they ask for or name a time; null: it cannot be told. The rules were written
beside them; some, where something else happened after the words that rules read, no rule can know."""

CLAIMED = {"said-done": 0.75}
FAILED = "=== 1 failed in 0.1s ==="
PASSED = "=== 4 passed in 0.1s ==="


class Judged(BaseModel):
    outcome: Literal["success", "failure", "partial"]
    reason: str
    confidence: float


@pytest.fixture(params=[True, False], ids=["RE2", "plain re"])
def shipped(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Templates]:
    if not request.param:
        monkeypatch.setitem(sys.modules, "re2", None)
    module._packaged.cache_clear()
    shipped = templates()
    shipped.load()
    yield shipped
    module._packaged.cache_clear()


def said(answer: TemplateAnswer | None) -> object:
    if answer is None:
        return None
    return answer.response.get("outcome", "asks" if answer.response.get("asks_when") else "names")


def group(name: str) -> str:
    return "-".join(name.split("-")[:2])


def test_the_confidence_of_a_template_is_what_its_group_is_worth_on_labelled_texts(shipped: Templates) -> None:
    answered, right, claimed = Counter[str](), Counter[str](), dict[str, float]()
    for row in LABELLED:
        if answer := shipped.match(row["purpose"], row["text"]):
            answered[group(answer.name)] += 1
            right[group(answer.name)] += said(answer) == row["is"]
            claimed[group(answer.name)] = answer.confidence
    assert len(LABELLED) >= 240
    assert claimed == {
        name: min(math.floor(100 * (right[name] + 1) / (answered[name] + 2)) / 100, CLAIMED.get(name, 1.0))
        for name in answered
    }
    assert right.total() / answered.total() > 0.9
    assert right.total() / sum(row["is"] is not None for row in LABELLED) > 0.9


def test_every_shipped_template_is_needed_by_a_labelled_text(shipped: Templates) -> None:
    names = {template.name for template in module._packaged() if template.response}
    used = {answer.name for row in LABELLED if (answer := shipped.match(row["purpose"], row["text"]))}
    assert names == used


def test_those_of_the_package_are_read_with_the_first_text(shipped: Templates) -> None:
    module._packaged.cache_clear()
    found = templates()
    assert module._packaged.cache_info().currsize == 0
    assert said(found.match("judge", PASSED)) == "success"
    assert module._packaged.cache_info().currsize == 1


def test_shipped_responses_are_answers(shipped: Templates) -> None:
    Templates(module._packaged()).refuse_unfit({"judge": Judged})


def test_the_latest_evidence_counts(shipped: Templates) -> None:
    for text, outcome in [(f"{FAILED}\nchange\n{PASSED}", "success"), (f"{PASSED}\nchange\n{FAILED}", "failure")]:
        assert said(shipped.match("judge", text)) == outcome


def test_exit_code_within_a_sentence_is_no_end_of_a_command(shipped: Templates) -> None:
    for text in ("Process exited with code 2", "exit status 137.", '{"exit_code": 1, "output": ""}'):
        assert said(shipped.match("judge", text)) == "failure"
    for text in ("Add a test that exit code 2 is returned.", "It should exit with code 1 when the file is missing."):
        assert shipped.match("judge", text) is None


def test_an_answer_names_its_template_and_its_evidence(shipped: Templates) -> None:
    answer = shipped.match("judge", f"log\n{PASSED}   \n\nbye")
    assert answer is not None
    assert (answer.name, answer.evidence) == ("tests-passed-pytest", PASSED)
    assert answer.response == {"outcome": "success", "reason": f"tests passed: {PASSED}"}
    assert answer.offered(Judged)["confidence"] == answer.confidence


def test_other_purposes_have_other_templates(shipped: Templates) -> None:
    assert shipped.match("distil", PASSED) is None
    assert said(shipped.match("intent", "When did it break?")) == "asks"


def test_what_is_left_of_a_line_that_is_cut_is_no_evidence(shipped: Templates) -> None:
    seen = "ok  pkg/a 1.2s\n"
    assert shipped.match("judge", f"not {seen}".ljust(4_004, "y")) is None
    assert said(shipped.match("judge", f"not\n{seen}".ljust(4_003, "y"))) == "success"


@pytest.mark.parametrize(
    "text",
    ["", " \n", "\ud800 all \udfff tests pass.", "İ" * 30_000 + f"\n{PASSED}", f"{PASSED}\n" + " " * 50_000],
)
def test_odd_texts_are_read(shipped: Templates, text: str) -> None:
    assert said(shipped.match("judge", text)) in {None, "success"}


@pytest.mark.parametrize(
    "text",
    [
        "Tests: " + " " * 20_000,
        "http status exit code " * 1_000,
        "1 failed " * 2_500,
        "all tests (" * 2_000,
        "a" * 20_000,
    ],
    ids=lambda text: text[:12],
)
def test_hostile_texts_take_no_long_time(shipped: Templates, text: str) -> None:
    shipped.match("judge", text)


def own(folder: Path, text: str) -> Path:
    file = folder / "mine.toml"
    file.write_text(text, encoding="utf-8")
    return file


MINE = """
[[template]]
name = "deployed"
purpose = "judge"
any = ["ayer"]
none = ["rolled back"]
all = ["DEPLOYED"]
response = { outcome = "success", reason = "seen: {evidence}" }
confidence = 1
"""


def test_a_users_templates_come_before_those_of_the_package(tmp_path: Path) -> None:
    mine = templates(own(tmp_path, MINE))
    answer = mine.match("judge", f"ayer: Deployed v3\n{FAILED}")
    assert answer is not None
    assert (answer.name, answer.response["reason"]) == ("deployed", "seen: ayer: Deployed v3")
    for text in (f"deployed by a player\n{FAILED}", f"ayer\n{FAILED}", f"ayer: deployed, rolled back\n{FAILED}"):
        assert said(mine.match("judge", text)) == "failure", "part of a word, not all, or one too many"


def test_a_template_without_a_response_leaves_the_question_open(tmp_path: Path) -> None:
    mine = templates(own(tmp_path, '[[template]]\nname = "ours"\npurpose = "judge"\nany = ["sandbox"]'))
    assert mine.match("judge", f"{PASSED}\nin the sandbox") is None
    assert said(mine.match("judge", PASSED)) == "success"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({'purpose = "judge"': 'purpose = "guess"'}, r"mine.toml: template 1 \('deployed'\): purpose: Input should be"),
        ({"confidence = 1": "confidence = 1.5"}, r"\('deployed'\): confidence: "),
        ({'any = ["ayer"]': "any = []"}, r"\('deployed'\): any: "),
        ({"none =": "nnoe ="}, r"\('deployed'\): nnoe: Extra inputs"),
        ({"none =": "pattern = '(?<=a)b'\nnone ="}, r"\('deployed'\): .*RE2 syntax"),
        ({"none =": "pattern = 'a('\nnone ="}, r"\('deployed'\): "),
        ({'name = "deployed"': 'name = "Deployed!"'}, r"\('Deployed!'\): name: "),
        ({MINE: MINE + MINE}, "two templates are named 'deployed'"),
        ({MINE: "template = 3"}, "only \\[\\[template\\]\\] tables"),
        ({MINE: "[[rule]]"}, "only \\[\\[template\\]\\] tables"),
        ({MINE: "template = [1]"}, "mine.toml: template 1: "),
        ({MINE: "= ="}, "no TOML"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_file_is_told_which_template_and_why(tmp_path: Path, change: Mapping[str, str], told: str) -> None:
    text = MINE
    for old, new in change.items():
        text = text.replace(old, new)
    with pytest.raises(ConfigError, match=told):
        templates(own(tmp_path, text))


def test_a_file_that_cannot_be_read_is_a_wrong_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        templates(tmp_path / "missing.toml")


def test_a_response_that_is_no_answer_is_refused_by_name(tmp_path: Path) -> None:
    mine = templates(own(tmp_path, MINE.replace('"success"', '"fine"')))
    with pytest.raises(ConfigError, match="'deployed': its response is no answer: outcome: "):
        mine.refuse_unfit({"judge": Judged})


def test_the_judge_can_use_them_without_a_client_for_models() -> None:
    code = "import sys, reasoning_bank.llm.templates as t; t.templates(); print('httpx2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True, timeout=60)
    assert done.stdout.strip() == "False"
