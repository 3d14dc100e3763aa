"""What single texts say of how something ended: test summaries, exit codes, results, errors, and closing words."""

import re
from typing import Final

from reasoning_bank.learning.evidence import failure_of, is_patch, kind_of
from reasoning_bank.learning.step import Step
from reasoning_bank.records import Outcome

Said = tuple[Outcome, str]
"""An outcome, and what says so, in words."""

_TAIL: Final = 4_000

_TESTS: Final = re.compile(
    r"(?P<failed>[1-9]\d*) (?:tests? )?(?:failed|failing|failures?|errors?)\b"
    r"|\b(?:failures|errors|failed)[:=] ?(?P<counted>[1-9]\d*)"
    r"|\b(?P<passed>[1-9]\d*) (?:tests? )?(?:passed|passing|succeeded)\b"
    r"|\b0 (?:failures|failed|errors)\b|\bfailed[:=] ?0\b"
    r"|^(?-i:OK|PASS(?:ED)?|ok[ \t]+\S+/\S+)(?![\w:])|\ball (?:\w+ )?(?:tests?|checks) (?:have )?pass\w*"
    r"|^(?:--- )?(?P<none>(?-i:FAIL(?:ED|URE)?|not ok))\b",
    re.IGNORECASE | re.MULTILINE,
)
_GOOD: Final = re.compile(
    r"\b(?:build succe\w+|successfully (?:built|installed|deployed|created|updated|completed|submitted|merged|cancelled"
    r"|booked|sent|saved)|compiled (?:successfully|without errors)|no (?:errors|issues|problems) found|0 errors?\b"
    r"|deployed|deployment \w+ successful\w*|exit(?:ed)?(?: with)?(?: code| status)?:? 0\b|HTTP/?[\d.]* 20[0-9]|200 OK"
    r"|healthy|all checks passed)",
    re.IGNORECASE,
)
_BAD: Final = re.compile(
    r"^[ \t│|]{0,8}(?:error|fatal|exception|denied|forbidden)\b[^\n]{0,120}"
    r"|^[^\n]{0,60}\b(?-i:ERROR|FATAL):[^\n]{0,120}"
    r'|"error" ?: ?[{"\[][^}\]]{1,120}',
    re.IGNORECASE | re.MULTILINE,
)
_EXIT: Final = re.compile(
    r"\b(?:exit(?:ed)?|return(?:ed)?|finished|terminated|process)\b[^\n\d]{0,30}"
    r"\b(?:code|status)\b[ :=]{1,3}(?P<code>-?\d{1,3})\b",
    re.IGNORECASE,
)
_STATUS: Final = re.compile(
    r'"(?:status|state|result|outcome|resolved|success|ok|passed|reward|score)"\s{0,3}:\s{0,3}'
    r'(?:"(?P<word>[a-z_ ]{2,20})"|(?P<flag>true|false)|(?P<number>[01](?:\.0+)?)(?=\s{0,3}[,}\n]))',
    re.IGNORECASE,
)
_GOOD_WORDS: Final = frozenset(
    re.findall(
        r"\w+",
        "true success successful succeeded ok done completed complete passed resolved cancelled canceled exchanged "
        "returned delivered shipped deployed merged active sent booked confirmed created updated saved approved "
        "healthy",
    )
)
_BAD_WORDS: Final = frozenset(
    re.findall(
        r"\w+",
        "false failure failed fail error errored rejected denied unresolved timeout timed_out crashed unhealthy "
        "aborted not_resolved declined expired",
    )
)

_CLAIMED_BAD: Final = re.compile(
    r"\b(?:(?:i|we) (?:was|were|am|are)(?: \w+)? (?:unable|not able)|(?:could|can)(?: not|n't|not)(?: \w+){0,2}"
    r" (?:complete|finish|solve|find|fix|reproduce|resolve|access|reach|log|submit|get|make|install|connect|perform"
    r"|determine|locate|apply|build|verify|proceed|do|be \w+)|unable to|giv(?:e|ing) up|gave up|ran out of"
    r"|out of (?:time|steps)"
    r"|(?:still|keeps|continues? to) (?:fail\w*|broken|crash\w*|not work\w*|throw\w*|hang\w*|error\w*|red\b|wrong)"
    r"|(?:did|does|do)(?: not|n't) (?:work|help|solve|fix|change anything|succeed|pass)|no (?:luck|success)"
    r"|(?:is|was|remains?|were) (?:not (?:solved|fixed|resolved|possible|complete\w*)|unsolved|unresolved|impossible"
    r"|blocked|rejected|declined|denied)"
    r"|(?:task|attempt|build|deploy\w*|migration|upload|submission|run|install\w*|import|request|merge|order|payment) "
    r"(?:has |have )?(?:failed|was aborted|timed out|crashed)|without success|to no avail|maximum (?:number of )?steps"
    r"|exceeded the (?:step|time|token) limit|won't work|nothing worked"
    r"|not allowed|permission denied|access denied|forbidden)\b|失败了|无法完成|没有成功|未能",
    re.IGNORECASE,
)
_CLAIMED_PARTIAL: Final = re.compile(
    r"\b(?:partial(?:ly)?|only (?:some|part|half|\d+ (?:of|out of))|some (?:of the )?(?:tests?|cases|files|items|parts)"
    r" (?:still|remain|are still|could)|(?:remaining|left) (?:issue|failure|work|problem)s?|except (?:for )?(?:one|two"
    r"|the|some)|still (?:missing|open|to be done|needs? to)|not (?:yet )?(?:fully|completely|entirely|all)"
    r"|(?:\d+|one|two|three|four|half|most) (?:of|out of) (?:the )?(?:\d+|two|three|four|five|six))\b|部分",
    re.IGNORECASE,
)
_CLAIMED_GOOD: Final = re.compile(
    r"\b(?:(?:now|it|everything|this|that|all)(?: \w+){0,3} (?:works?|passes|succeeds?|runs? (?:fine|cleanly|through)"
    r"|is (?:fixed|solved|resolved|done|complete\w*|green|correct|running|working|deployed|up))"
    r"|(?:is|are|has been|have been|was|were) (?:now )?(?:successfully |all )?(?:fixed|solved|resolved|done|completed?"
    r"|finished|implemented|deployed|cancelled|booked|exchanged|returned|processed|updated|submitted|merged|placed"
    r"|changed|passing|green|correct|working|installed|created|refunded|sent|added|running|imported|migrated|restored"
    r"|renewed|published|released|exported|uploaded|downloaded|converted|translated|corrected|repaired|closed|removed"
    r"|replaced|renamed|generated|configured|verified|confirmed|paid|delivered|scheduled|registered|subscribed|posted"
    r"|saved|replied)"
    r"|(?:all|the) (?:\w+ )?tests? (?:now )?pass\w*|no (?:longer|more) (?:fails?|errors?|crash\w*|leak\w*|flak\w*)"
    r"|(?:i|we)(?:'ve| have)? (?:successfully |now )?(?:fixed|solved|resolved|completed|finished|implemented|deployed"
    r"|cancelled|booked|submitted|merged)|(?:the )?(?:root )?cause was|fixed (?:it|by|the)|solved (?:it|by)"
    r"|resolved (?:it|by)|task (?:is )?(?:complete\w*|done|finished)|success(?:ful(?:ly)?)?|the (?:final )?answer is"
    r"|(?:works?|starts?|runs?|builds?|pass(?:es)?|loads?|responds?|up) again"
    r"|up and (?:running|green)|did the trick"
    r"|(?:cut|reduced|improved|brought|sped|dropped|went) \w+(?: \w+){0,6} (?:from|by|to|down)\b)"
    r"|完成了|已完成|成功|解决了|已解决",
    re.IGNORECASE,
)
_NOT_YET: Final = re.compile(
    r"^(?:let me|let's|i(?:'ll| will| need| should| want)|now (?:i|let|we)|next|first|to (?:fix|solve|complete)|if\b"
    r"|we (?:need|should|must|will)|try\b|maybe\b|hopefully)|\?\s*$|\b(?:should|might|may|would"
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


def summarised(step: Step, *, failures_before: int) -> Said | None:
    """Return what a test summary in a step says: partial when fewer fail than before, and some pass."""
    if kind_of(step) == "look" or is_patch(step.observation):
        return None
    found = _summaries(step)
    if not found:
        return None
    failed = [match for match in found if match["failed"] or match["counted"] or match["none"]]
    if not failed:
        return "success", f"the last check says {found[-1][0].strip()!r}"
    passed = any(match["passed"] for match in found)
    fewer = 0 < failures(step) < failures_before
    return "partial" if passed and fewer else "failure", f"the last check says {failed[-1][0].strip()!r}"


def failures(step: Step) -> int:
    """Return how many tests fail by the summary in a step."""
    return max((int(match["failed"] or match["counted"] or 0) for match in _summaries(step)), default=0)


def _summaries(step: Step) -> list[re.Match[str]]:
    tail = step.observation[-_TAIL:]
    lowered = tail.lower()
    # Looking for plain words first is a hundred times cheaper.
    return (
        list(_TESTS.finditer(tail)) if any(word in lowered for word in ("fail", "pass", "error", "ok", "succe")) else []
    )


def exited(step: Step) -> Said | None:
    """Return what the exit code of a step says; a look that failed fails nothing."""
    if kind_of(step) == "look":
        return None
    if step.failed is not None:
        shown = step.action.splitlines()[0][:80] if step.action else "the last step"
        return ("failure", f"{shown!r} failed") if step.failed else ("success", f"{shown!r} succeeded")
    codes = [int(match["code"]) for match in _EXIT.finditer(step.observation[-_TAIL:])]
    return ("failure" if codes[-1] else "success", f"exit code {codes[-1]}") if codes else None


def resulted(text: str) -> Said | None:
    """Return what the last status, flag or reward in a JSON text says."""
    for match in reversed(list(_STATUS.finditer(text[-_TAIL:].replace('\\"', '"')))):
        word = (match["word"] or match["flag"] or match["number"]).lower().replace(" ", "_")
        if word in _GOOD_WORDS or word[0] == "1":
            return "success", f"the result says {match[0]}"
        if word in _BAD_WORDS or word[0] == "0":
            return "failure", f"the result says {match[0]}"
    return None


def shown(step: Step) -> Said | None:
    """Return what the output of one of the last steps says: an error that nothing came after, or that it is well."""
    if failure := failure_of(step):
        return "failure", f"it ended with {failure.line!r}"
    if kind_of(step) == "look" and step.action:
        return None
    tail = step.observation[-_TAIL:]
    if result := resulted(tail):
        return result
    if bad := _BAD.search(tail):
        return "failure", f"it ended with {bad[0].strip()!r}"
    good = _GOOD.search(tail)
    return ("success", f"the last output says {good[0]!r}") if good else None


def claimed(sentence: str) -> Outcome | None:
    """Return the outcome that an agent's sentence claims; plans, questions and hopes claim none."""
    if _NOT_YET.search(sentence):
        return None
    bad, good = _CLAIMED_BAD.search(sentence), _CLAIMED_GOOD.search(sentence)
    if _CLAIMED_PARTIAL.search(sentence):
        return "partial" if bad or good else None
    if bad:
        return "failure"
    return "success" if good else None


def answered(text: str) -> Said | None:
    """Return what a user's last words say of what the assistant did before."""
    if bad := _TOLD_BAD.search(text[:_TAIL]):
        return "failure", f"the user said {bad[0]!r}"
    good = _TOLD_GOOD.search(text[:_TAIL])
    return ("success", f"the user said {good[0]!r}") if good else None
