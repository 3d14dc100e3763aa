from collections import Counter

import pytest

from reasoning_bank.learning.judge import JUDGED_FROM, is_sure, judged_by_rules
from reasoning_bank.records import Judgement, NewTrace
from tests.learning.judged_runs import RUNS, UNSEEN, Labelled, step


def figures(runs: Labelled) -> tuple[float, float]:
    """Share of sure judgements that are right, and share of known outcomes that are surely and rightly judged."""
    found = Counter[str]()
    for outcome, report in runs:
        judgement = judged_by_rules(report)
        if judgement and is_sure(judgement):
            found["right" if judgement.outcome == outcome else "wrong"] += 1
    known = sum(outcome != "unknown" for outcome, _ in runs)
    return found["right"] / (found["right"] + found["wrong"]), found["right"] / known


def test_rules_judge_the_runs_they_were_made_for() -> None:
    assert len(RUNS) >= 80
    precision, recall = figures(RUNS)
    assert precision >= 0.98
    assert recall >= 0.95


def test_rules_are_rarely_wrong_on_runs_nobody_had_in_mind() -> None:
    """What they do not know they leave open: recall is what a language model adds."""
    precision, recall = figures(UNSEEN)
    assert precision >= 0.95
    assert recall >= 0.45


def test_confidence_is_no_more_than_the_share_of_judgements_that_hold() -> None:
    held: dict[float, list[bool]] = {}
    for outcome, report in [*RUNS, *UNSEEN]:
        if judgement := judged_by_rules(report):
            held.setdefault(judgement.confidence, []).append(judgement.outcome == outcome)
    assert all(sum(right) / len(right) >= confidence for confidence, right in held.items())


def test_the_last_check_decides_and_a_claim_against_it_makes_it_unsure() -> None:
    steps = [step("edit a.py", "saved"), step("pytest", "2 failed, 3 passed"), step("", "", "Everything works now.")]
    judgement = judged_by_rules(NewTrace("Fix it", trajectory=steps))
    assert judgement is not None
    assert judgement.outcome == "failure"
    assert "2 failed" in judgement.reason
    assert judgement.confidence < JUDGED_FROM
    assert not is_sure(judgement)


def test_a_failed_check_before_the_last_change_says_nothing_sure() -> None:
    judgement = judged_by_rules(NewTrace("Fix it", trajectory=[step("pytest", "1 failed"), step("edit a.py", "saved")]))
    assert judgement is not None
    assert not is_sure(judgement)


def test_known_outputs_come_before_the_rules_and_name_their_template() -> None:
    def template(seen: str) -> Judgement | None:
        return Judgement("failure", "quota", 0.95, "template:quota") if "quota left: 0" in seen else None

    steps = [step("deploy", "done, exit code 0, quota left: 0"), step("ls", "a b")]
    assert judged_by_rules(NewTrace("Deploy", trajectory=steps), template=template) == Judgement(
        "failure", "quota", 0.95, "template:quota"
    )


@pytest.mark.parametrize("trajectory", [None, "", [], {}, "I looked at it.", [step("cat log", "FAILED: 3 errors")]])
def test_what_says_nothing_is_not_judged(trajectory: None) -> None:
    assert judged_by_rules(NewTrace("Fix it", trajectory=trajectory)) is None


def test_what_the_bank_said_itself_is_no_sign() -> None:
    recalled = step("retrieve_memory {'task': 'x'}", "Failed: pytest, 3 failed. It did not work.")
    assert judged_by_rules(NewTrace("Fix it", trajectory=[recalled])) is None
