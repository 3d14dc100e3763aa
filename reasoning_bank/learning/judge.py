"""How a task ended where nobody said so: by rules, from exit codes, test results, errors and closing words.

What was measured last decides; what somebody only claimed decides where nothing was measured. Where the two
disagree the judgement is less sure, and where there is neither there is none.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from reasoning_bank.learning.evidence import failure_of, is_patch, kind_of, sentences
from reasoning_bank.learning.recall import own_steps
from reasoning_bank.learning.step import Step
from reasoning_bank.records import JsonValue, Judgement, NewTrace, Outcome

JUDGED_FROM: Final = 0.7
"""Confidence from which the memories of a trace carry the judged outcome."""
RULES: Final = "rules/1"

Template = Callable[[str], Judgement | None]
"""Answers known texts without a model: what was seen, to a judgement, or None."""

Grade = Literal["told", "measured", "claimed"]
Reason = tuple[Grade, Outcome, str]

# Confidences are shares of right judgements on the labelled runs of tests/learning, rounded down.
_CONFIDENCE: Final[dict[Grade, float]] = {"told": 0.9, "measured": 0.9, "claimed": 0.75}
_DISAGREEING: Final = 0.25
_PARTIAL: Final = 0.7
_CLOSING_STEPS: Final = 3
_TAIL: Final = 4_000

_TESTS: Final = re.compile(
    r"(?P<failed>[1-9]\d*) (?:tests? )?(?:failed|failing|failures?|errors?)\b"
    r"|\b(?:failures|errors|failed)[:=] ?(?P<counted>[1-9]\d*)"
    r"|\b(?P<passed>[1-9]\d*) (?:tests? )?(?:passed|passing|succeeded)\b|\b(?:tests?|passed)[:=] ?(?P<ok>[1-9]\d*)"
    r"|^(?P<all>OK|PASS(?:ED)?|ok\s+\S+)\b|\ball (?:\w+ )?(?:tests?|checks) (?:have )?pass\w*"
    r"|^(?P<none>FAIL(?:ED|URE)?|not ok)\b",
    re.IGNORECASE | re.MULTILINE,
)
_GOOD: Final = re.compile(
    r"\b(?:build succe\w+|successfully (?:built|installed|deployed|created|updated|completed|submitted|merged|cancelled"
    r"|booked|sent|saved)|compiled (?:successfully|without errors)|no (?:errors|issues|problems) found|0 errors?\b"
    r"|deployed|deployment \w+ successful\w*|exit(?:ed)?(?: with)?(?: code| status)?:? 0\b|HTTP/?[\d.]* 20[0-9]|200 OK"
    r"|healthy|all checks passed)",
    re.IGNORECASE,
)
_EXIT: Final = re.compile(
    r"\b(?:exit(?:ed)?|return(?:ed)?|finished|terminated|process)\b[^\n\d]{0,30}"
    r"\b(?:code|status)\b[ :=]{1,3}(?P<code>-?\d{1,3})\b",
    re.IGNORECASE,
)
_STATUS: Final = re.compile(
    r'"(?:status|state|result|outcome|resolved|success|passed|reward|score)"\s{0,3}:\s{0,3}'
    r'(?:"(?P<word>[a-z_ ]{2,20})"|(?P<flag>true|false)|(?P<number>[01](?:\.0+)?)(?=\s{0,3}[,}\n]))',
    re.IGNORECASE,
)
_GOOD_WORDS: Final = frozenset(
    re.findall(
        r"\w+",
        "success successful succeeded ok done completed complete passed resolved cancelled canceled exchanged returned "
        "delivered shipped deployed merged active sent booked confirmed created updated saved approved healthy",
    )
)
_BAD_WORDS: Final = frozenset(
    re.findall(
        r"\w+",
        "failure failed fail error errored rejected denied unresolved timeout timed_out crashed unhealthy aborted "
        "not_resolved declined expired",
    )
)

_CLAIMED_BAD: Final = re.compile(
    r"\b(?:(?:i|we) (?:was|were|am|are)(?: \w+)? (?:unable|not able)|(?:could|can)(?: not|n't|not)(?: \w+){0,2}"
    r" (?:complete|finish|solve|find|fix|reproduce|resolve|access|reach|log|submit|get|make|install|connect|perform"
    r"|determine|locate|apply|build|verify|proceed|do)|unable to|giv(?:e|ing) up|gave up|ran out of"
    r"|out of (?:time|steps)"
    r"|(?:still|keeps|continues? to) (?:fail\w*|broken|crash\w*|not work\w*|throw\w*|hang\w*|error\w*|red\b|wrong)"
    r"|(?:did|does|do)(?: not|n't) (?:work|help|solve|fix|change anything|succeed|pass)|no (?:luck|success)"
    r"|(?:is|was|remains?|were) (?:not (?:solved|fixed|resolved|possible|complete\w*)|unsolved|unresolved|impossible"
    r"|blocked|rejected|declined|denied)"
    r"|(?:task|attempt|build|deploy\w*|migration|upload|submission|run|install\w*|import|request|merge|order|payment) "
    r"(?:has |have )?(?:failed|was aborted|timed out|crashed)|without success|to no avail|maximum (?:number of )?steps"
    r"|exceeded the (?:step|time|token) limit|won't work|nothing worked)\b|失败了|无法完成|没有成功|未能",
    re.IGNORECASE,
)
_CLAIMED_PARTIAL: Final = re.compile(
    r"\b(?:partial(?:ly)?|only (?:some|part|half|\d+ (?:of|out of))|some (?:of the )?(?:tests?|cases|files|items|parts)"
    r" (?:still|remain|are still|could)|(?:remaining|left) (?:issue|failure|work|problem)s?|except (?:for )?(?:one|two"
    r"|the|some)|still (?:missing|open|to be done|needs? to)|not (?:yet )?(?:fully|completely|entirely|all)"
    r"|\d+ (?:of|out of) (?:the )?\d+)\b|部分",
    re.IGNORECASE,
)
_CLAIMED_GOOD: Final = re.compile(
    r"\b(?:(?:now|it|everything|this|that|all)(?: \w+){0,3} (?:works?|passes|succeeds?|runs? (?:fine|cleanly|through)"
    r"|is (?:fixed|solved|resolved|done|complete\w*|green|correct|running|working|deployed|up))"
    r"|(?:is|are|has been|have been|was|were) (?:now )?(?:successfully |all )?(?:fixed|solved|resolved|done|completed?"
    r"|finished|implemented|deployed|cancelled|booked|exchanged|returned|processed|updated|submitted|merged|placed"
    r"|changed|passing|green|correct|working|installed|created|refunded|sent|added|running)"
    r"|(?:all|the) (?:\w+ )?tests? (?:now )?pass\w*|no (?:longer|more) (?:fails?|errors?|crash\w*|leak\w*|flak\w*)"
    r"|(?:i|we)(?:'ve| have)? (?:successfully |now )?(?:fixed|solved|resolved|completed|finished|implemented|deployed"
    r"|cancelled|booked|submitted|merged)|(?:the )?(?:root )?cause was|fixed (?:it|by|the)|solved (?:it|by)"
    r"|resolved (?:it|by)|task (?:is )?(?:complete\w*|done|finished)|success(?:ful(?:ly)?)?|the (?:final )?answer is"
    r"|did the trick|(?:cut|reduced|improved|brought|sped|dropped|went) \w+(?: \w+){0,6} (?:from|by|to|down)\b)"
    r"|完成了|已完成|成功|解决了|已解决",
    re.IGNORECASE,
)
_NOT_YET: Final = re.compile(
    r"^(?:let me|let's|i(?:'ll| will| need| should| want)|now (?:i|let|we)|next|first|to (?:fix|solve|complete)|if\b"
    r"|once\b|when\b|after\b|we (?:need|should|must|will)|try\b|maybe\b|hopefully)|\?\s*$|\b(?:should|might|may|would"
    r"|could) (?:now )?(?:be |work|pass|fix|solve|resolve|help)",
    re.IGNORECASE,
)
_TOLD_GOOD: Final = re.compile(
    r"\b(?:thanks|thank you|perfect|great|awesome|excellent|(?:that|it|this) (?:works?|worked|fixed it|solved it|is it"
    r"|did it)|works (?:now|fine|great|perfectly)|exactly (?:what|right)|well done|looks good|lgtm|solved)\b"
    r"|谢谢|太好了",
    re.IGNORECASE,
)
_TOLD_BAD: Final = re.compile(
    r"\b(?:still (?:not|fail\w*|broken|wrong|the same|crash\w*|get\w*|see\w*)"
    r"|(?:does|did|do)(?: not|n't) (?:work|help|fix)|not (?:what i|fixed|working|right|correct)"
    r"|that(?:'s| is) (?:wrong|not)|wrong|same error|it broke|worse|no,|undo|revert|never mind|give up"
    r"|forget it)\b|不对|还是不行",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class _Piece:
    """One thing that speaks for an outcome; `at` is its step."""

    at: int
    reason: Reason


def judged_by_rules(report: NewTrace, *, template: Template | None = None) -> Judgement | None:
    """Return how the task ended, or None where nothing tells.

    Args:
        report: a trace without an outcome.
        template: the user's and our patterns of known texts; asked about what was seen last.
    """
    steps = own_steps(report.trajectory)
    told = _told_by_user(report.trajectory)
    measured = list(_measured(steps))
    claimed = _claimed(steps)
    if told is None and not measured and claimed is None:
        return _by_template(steps, template)
    decisive = _decisive(told, measured, claimed)
    grade, outcome, said = decisive
    others = [reason for reason in (told, measured[-1].reason if measured else None, claimed) if reason]
    disagree = any(other[1] != outcome and "partial" not in {other[1], outcome} for other in others)
    confidence = _PARTIAL if outcome == "partial" else _CONFIDENCE[grade]
    return Judgement(outcome, said, round(confidence - _DISAGREEING * disagree, 2), RULES)


def is_sure(judgement: Judgement | None) -> bool:
    """True when memories may carry the judged outcome."""
    return judgement is not None and judgement.outcome != "unknown" and judgement.confidence >= JUDGED_FROM


def _decisive(told: Reason | None, measured: Sequence[_Piece], claimed: Reason | None) -> Reason:
    if told:
        return told
    if measured:
        last = measured[-1].reason
        # Whoever says that it did not work, after a green check, knows of more than the check.
        return claimed if claimed and claimed[1] != "success" and last[1] == "success" else last
    assert claimed is not None
    return claimed


def _measured(steps: Sequence[Step]) -> Iterator[_Piece]:
    """Yield what was measured, in order: tests first, since a command may exit well that reports failures."""
    first_failures = 0
    for at, step in enumerate(steps):
        if not step.observation and step.failed is None:
            continue
        found = _of_tests(step, first_failures)
        if found and found[1] == "failure" and not first_failures:
            first_failures = _failures(step.observation)
        found = found or _of_exit(step) or _of_status(step, last=at >= len(steps) - _CLOSING_STEPS)
        # An error long ago that nothing came back to was not the end; one in the last steps was.
        found = found or (_of_error(step) if at >= len(steps) - _CLOSING_STEPS else None)
        if found:
            yield _Piece(at, found)


def _of_tests(step: Step, first_failures: int) -> Reason | None:
    if kind_of(step) == "look" or is_patch(step.observation):
        return None
    found = list(_TESTS.finditer(step.observation[-_TAIL:]))
    if not found:
        return None
    failed = [match for match in found if match["failed"] or match["counted"] or match["none"]]
    if not failed:
        return ("measured", "success", f"the last check says {found[-1][0].strip()!r}")
    passed = any(match["passed"] or match["ok"] for match in found)
    fewer = 0 < _failures(step.observation) < first_failures
    outcome: Outcome = "partial" if passed and fewer else "failure"
    return ("measured", outcome, f"the last check says {failed[-1][0].strip()!r}")


def _failures(seen: str) -> int:
    counts = [int(match["failed"] or match["counted"] or 0) for match in _TESTS.finditer(seen[-_TAIL:])]
    return max(counts, default=0)


def _of_exit(step: Step) -> Reason | None:
    kind = kind_of(step)
    if step.failed is not None and kind != "look":
        shown = step.action.splitlines()[0][:80] if step.action else "the last step"
        return (
            "measured",
            "failure" if step.failed else "success",
            f"{shown!r} {'failed' if step.failed else 'succeeded'}",
        )
    codes = [int(match["code"]) for match in _EXIT.finditer(step.observation[-_TAIL:])]
    if codes and kind != "look":
        return ("measured", "failure" if codes[-1] else "success", f"exit code {codes[-1]}")
    return None


def _of_status(step: Step, *, last: bool) -> Reason | None:
    if not last or (kind_of(step) == "look" and step.action):
        return None
    for match in reversed(list(_STATUS.finditer(step.observation[-_TAIL:]))):
        word = (match["word"] or match["flag"] or match["number"] or "").lower().replace(" ", "_")
        if word in _GOOD_WORDS or word == "true" or (word and word[0] == "1"):
            return ("measured", "success", f"the result says {match[0]}")
        if word in _BAD_WORDS or word == "false" or (word and word[0] == "0"):
            return ("measured", "failure", f"the result says {match[0]}")
    return None


def _of_error(step: Step) -> Reason | None:
    if failure := failure_of(step):
        return ("measured", "failure", f"it ended with {failure.line!r}")
    if kind_of(step) != "look" and (good := _GOOD.search(step.observation[-_TAIL:])):
        return ("measured", "success", f"the last output says {good[0]!r}")
    return None


def _claimed(steps: Sequence[Step]) -> Reason | None:
    """Return what the agent's closing words say, the last telling sentence first."""
    closing = [step for step in steps[-_CLOSING_STEPS:] if step.thought or (step.action and not step.observation)]
    for step in reversed(closing):
        for sentence in reversed(sentences(step.thought or step.action)[-6:]):
            if outcome := _said_outcome(sentence):
                return ("claimed", outcome, f"it ends with the words {sentence[:120]!r}")
    return None


def _said_outcome(sentence: str) -> Outcome | None:
    if _NOT_YET.search(sentence):
        return None
    if _CLAIMED_PARTIAL.search(sentence):
        return "partial" if _CLAIMED_BAD.search(sentence) or _CLAIMED_GOOD.search(sentence) else None
    if _CLAIMED_BAD.search(sentence):
        return "failure"
    return "success" if _CLAIMED_GOOD.search(sentence) else None


def _told_by_user(trajectory: JsonValue) -> Reason | None:
    """Return what the user said last, after the assistant's last words: nobody knows better."""
    messages = trajectory.get("messages") if isinstance(trajectory, dict) else trajectory
    if not isinstance(messages, list) or len(messages) < 2:
        return None
    last = messages[-1]
    if (
        not isinstance(last, dict)
        or last.get("role") not in {"user", "human"}
        or not isinstance(last.get("content"), str)
    ):
        return None
    said = str(last["content"])[:_TAIL]
    bad, good = _TOLD_BAD.search(said), _TOLD_GOOD.search(said)
    if bad or good:
        return ("told", "failure" if bad else "success", f"the user said {(bad or good)[0]!r}")  # type: ignore[index]
    return None


def _by_template(steps: Sequence[Step], template: Template | None) -> Judgement | None:
    if template is None:
        return None
    seen = (text for step in reversed(steps[-_CLOSING_STEPS:]) for text in (step.observation, step.thought) if text)
    return next((found for text in seen if (found := template(text[-_TAIL:]))), None)
