"""How a task ended where nobody said so: by rules, from exit codes, test results, errors and closing words.

What was measured last decides; what somebody only claimed decides where nothing was measured. Where the two
disagree the judgement is less sure, and where there is neither there is none.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from reasoning_bank.learning.evidence import kind_of, sentences
from reasoning_bank.learning.fields import plain
from reasoning_bank.learning.outcomes import Said, answered, claimed, exited, failures, resulted, shown, summarised
from reasoning_bank.learning.prompting import Verdict
from reasoning_bank.learning.recall import own_steps
from reasoning_bank.learning.step import Step
from reasoning_bank.llm.templates import Templates
from reasoning_bank.records import JUDGED_FROM, JsonValue, Judgement, NewTrace

RULES: Final = "rules/1"

Template = Callable[[str], Judgement | None]
"""Answers known texts without a model: what a step showed, to a judgement, or None."""
Grade = Literal["told", "measured", "claimed"]

# At most the shares of right judgements on the labelled runs of tests/learning.
_CONFIDENCE: Final[dict[Grade, float]] = {"told": 0.9, "measured": 0.9, "claimed": 0.75}
_PARTIAL: Final = 0.7
_STALE: Final = 0.5
_DISAGREEING: Final = 0.25
_CLOSING_STEPS: Final = 3
_KNOWN_STEPS: Final = 12
"""Last steps whose outputs are looked up among known ones, which takes a millisecond each."""
_CLOSING_SENTENCES: Final = 6
_CLOSING_CHARS: Final = 4_000
_QUOTE_CHARS: Final = 120


@dataclass(frozen=True, slots=True)
class _Sign:
    """One thing that speaks for an outcome; `at` is its step, or beyond the last one."""

    judgement: Judgement
    grade: Grade
    at: int


def judged_by_rules(report: NewTrace, *, template: Template | None = None) -> Judgement | None:
    """Return how the task ended, or None where nothing tells.

    Args:
        report: a trace without an outcome.
        template: the user's and our patterns of known outputs; they come before the rules.
    """
    steps = own_steps(report.trajectory)
    told = _told(report.trajectory, len(steps))
    measured = next(_measured(steps, template), None)
    said = _claimed(steps)
    if measured and said and _is_stale(measured, steps):
        measured = None
    signs = [sign for sign in (told, measured, said) if sign]
    return _weighed(_decisive(signs), signs, steps) if signs else None


def known_outputs(templates: Templates) -> Template:
    """Return what judges by templates, as `judged_by_rules` takes it."""

    def judge(seen: str) -> Judgement | None:
        found = templates.match("judge", seen)
        if found is None:
            return None
        said = Verdict.model_validate({**found.response, "confidence": found.confidence})
        return Judgement(said.outcome, said.reason, said.confidence, f"template:{found.name}")

    return judge


def is_sure(judgement: Judgement | None) -> bool:
    """True when memories may carry the judged outcome."""
    return judgement is not None and judgement.outcome != "unknown" and judgement.confidence >= JUDGED_FROM


def _decisive(signs: Sequence[_Sign]) -> _Sign:
    first, last = signs[0], signs[-1]
    # Whoever says after a green check that it did not work knows of more than the check.
    doubted = (first.grade, first.judgement.outcome) == ("measured", "success") and last.judgement.outcome != "success"
    return last if doubted else first


def _weighed(decisive: _Sign, signs: Sequence[_Sign], steps: Sequence[Step]) -> Judgement:
    outcomes = {sign.judgement.outcome for sign in signs} - {"partial"}
    confidence = _STALE if _is_stale(decisive, steps) else decisive.judgement.confidence
    return replace(decisive.judgement, confidence=round(confidence - _DISAGREEING * (len(outcomes) > 1), 2))


def _sign(said: Said, grade: Grade, at: int) -> _Sign:
    outcome, reason = said
    confidence = _PARTIAL if outcome == "partial" else _CONFIDENCE[grade]
    return _Sign(Judgement(outcome, reason, confidence, RULES), grade, at)


def _is_stale(sign: _Sign, steps: Sequence[Step]) -> bool:
    """True for a failed check after which something was changed and nothing checked again."""
    if sign.grade != "measured" or sign.judgement.outcome == "success":
        return False
    later = (step for step in steps[sign.at + 1 :] if kind_of(step) == "change" and not step.failed)
    return any(step.action.split()[0] != "submit" for step in later)


def _measured(steps: Sequence[Step], template: Template | None) -> Iterator[_Sign]:
    """Yield what was measured, the last first; tests first, since a command may exit well that reports failures."""
    most = max(map(failures, steps), default=0)
    for at in reversed(range(len(steps))):
        step = steps[at]
        # An error long ago was not the end; one in the last steps was.
        is_closing = at >= len(steps) - _CLOSING_STEPS
        asked = template if at >= len(steps) - _KNOWN_STEPS and kind_of(step) != "look" else None
        if asked and (known := asked(step.observation)):
            yield _Sign(known, "measured", at)
        said = summarised(step, failures_before=most) or exited(step) or (shown(step) if is_closing else None)
        if said:
            yield _sign(said, "measured", at)


def _claimed(steps: Sequence[Step]) -> _Sign | None:
    """Return what the agent's closing words say, the last telling sentence first."""
    for at in reversed(range(max(0, len(steps) - _CLOSING_STEPS), len(steps))):
        words = steps[at].thought or ("" if steps[at].observation else steps[at].action)
        for sentence in reversed(sentences(words[-_CLOSING_CHARS:])[-_CLOSING_SENTENCES:]):
            if outcome := claimed(sentence):
                return _sign((outcome, f"it ends with the words {sentence[:_QUOTE_CHARS]!r}"), "claimed", at)
    return None


def _told(trajectory: JsonValue, end: int) -> _Sign | None:
    """Return what the user said last, or what a framework wrote beside the steps: its reward, whether it resolved."""
    messages = trajectory.get("messages") if isinstance(trajectory, dict) else trajectory
    said = _last_words(messages) if isinstance(messages, list) else None
    found = answered(said) if said else None
    if found is None and isinstance(trajectory, dict):
        beside: dict[str, JsonValue] = {key: value for key, value in trajectory.items() if not isinstance(value, list)}
        found = resulted(plain(beside)) if len(beside) < len(trajectory) else None
    return _sign(found, "told", end) if found else None


def _last_words(messages: Sequence[JsonValue]) -> str | None:
    """Return what the user says after the assistant's last words: nobody knows better how it went."""
    last = messages[-1] if len(messages) > 1 else None
    if not isinstance(last, dict) or last.get("role") not in {"user", "human"}:
        return None
    content = last.get("content")
    return content if isinstance(content, str) else None
