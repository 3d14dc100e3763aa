"""What in a step is worth remembering: errors, decisive actions, explanations, changes. Verbatim, never invented."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from reasoning_bank.learning.step import Step

Kind = Literal["change", "check", "look", "other"]


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as it was seen.

    Attributes:
        type: its class or tool, such as `ValueError` or `HTTP 404`; never empty.
        line: the line that says it, clipped.
    """

    type: str
    line: str


@dataclass(frozen=True, slots=True)
class Judged:
    """A step with what it was and how it went, judged once."""

    step: Step
    kind: Kind
    failure: Failure | None


# The end of a long output is where a command says how it went.
_TAIL_CHARS: Final = 20_000
_ERRORS: Final = re.compile(
    r"^(?:E[ ]{2,8}|[ \t>|\d:.\]\[-]{0,16})(?P<line>"
    r"(?:[\w.]{1,80}\.)?(?P<type>[A-Z]\w{0,60}(?:Error|Exception|Interrupt|Exit))\b(?::[^\n]{0,400}|[ \t]*$)"
    r"|(?P<compiler>error(?:\[E\d{4}\]| TS\d{4,5}| CS\d{4}| C\d{4})?)(?::| -)[ \t]*[^\n]{4,400}"
    r"|(?P<located>[\w./\\-]{1,200}:\d{1,7}(?::\d{1,5})?:[ \t](?:fatal )?error)\b[^\n]{4,400}"
    r"|(?P<fatal>fatal|FATAL|panic|CRITICAL|npm ERR!|ERROR|FAILED|Segmentation fault|Killed"
    r"|Aborted)\b[:\s-]{0,4}[^\n]{0,400}"
    r"|[^\n]{0,200}(?P<shell>command not found|No such file or directory|Permission denied|Connection refused|timed out"
    r"|Operation not permitted|Address already in use|No space left on device|annot find module|ould not resolve)"
    r"[^\n]{0,200}"
    r"|[^\n]{0,120}\b(?P<http>HTTP(?:/\d(?:\.\d)?)? [45]\d\d|status(?: code)?[ :=]{1,3}[45]\d\d)\b[^\n]{0,200})",
    re.MULTILINE,
)
_TOLD: Final = re.compile(
    r"\b(?:[\w.]{1,80}\.)?(?:(?P<type>[A-Z]\w{0,60}(?:Error|Exception))\b|(?P<http>HTTP [45]\d\d)\b)[^\n]{0,200}"
)
_FAILED: Final = re.compile(
    r"\b(?:fail(?:ed|s|ure)|did(?: not|n't)|could(?: not|n't)|can(?:not|'t)|unable|wrong|rejected"
    r"|timed out|crash\w*|broke"
    r"|error)\b|失败|错误|无法",
    re.IGNORECASE,
)
_JSON_ERROR: Final = re.compile(
    r'"(?:error|error_message|message|detail)"[ ]?:[ ]?"(?P<line>[^"\\]{4,400})"|^(?P<said>Error: [^\n]{4,400})',
    re.MULTILINE,
)
_NO_ERROR: Final = re.compile(r"\b(?:0|no) (?:errors?|failed|failures?)\b|errors?[:=] ?0\b", re.IGNORECASE)
_SUCCESS: Final = re.compile(
    r"\b(?:\d+ passed|all tests? pass\w*|tests? pass(?:ed|es)?|build succe\w+|success(?:fully)?|succeeded"
    r"|0 failed|done in"
    r"|OK)\b|^OK$|exit code:? 0\b",
    re.IGNORECASE | re.MULTILINE,
)

_PREFIX: Final = r"^(?:sudo |cd \S{1,200} && )?(?:"
_CHANGES: Final = re.compile(
    _PREFIX
    + r"edit|str_?replace|create|write|insert|apply|patch|replace|append|set|add|update|modify|delete|remove|rename"
    r"|move|mv|cp|rm|mkdir|chmod|chown|ln|touch|install|uninstall|upgrade|pip3? (?:install|cache|uninstall)|purge|clean"
    r"|clear|(?:npm|pnpm|yarn|bun) (?:i|add|install|ci|remove)|apt(?:-get)? install|brew install|cargo add|go get"
    r"|conda install|git (?:apply|commit|checkout|revert|reset|merge|rebase|cherry-pick|stash)|sed -i|export |alter "
    r"|insert into|kill|docker (?:build|run|compose|login|push)|kubectl (?:apply|set|delete)|terraform apply|systemctl"
    r"|click|type|fill|select|submit|press|book|cancel|return|exchange|transfer|send|post|put|raise|lower|increase"
    r"|decrease|switch|enable|disable|use[ds]?|chang|fix|refactor|pin|wrap|convert|rewrote|rewrite)",
    re.IGNORECASE,
)
_CHECKS: Final = re.compile(
    _PREFIX
    + r"\S{0,80}python[\d.]* |\S{0,80}pytest|tox|nox|make|npm (?:test|run)|yarn test|go (?:test|build|run|vet)|mvn"
    r"|cargo (?:test|build|check|run)|gradle|ctest|jest|vitest|ruff|mypy|pyright|eslint|tsc|curl|run"
    r"|execute|test|verify"
    r"|check|node )",
    re.IGNORECASE,
)
_LOOKS: Final = re.compile(
    _PREFIX
    + r"ls|cat|head|tail|less|open|find|grep|rg|ag|tree|pwd|cd|echo|which|view|read|search|scroll|goto|go_?to|get"
    r"|list|show|git (?:log|diff|status|show|blame|grep)|think|look|inspect|browse|fetch|submit$|exit"
    r"|str_replace_editor view)",
    re.IGNORECASE,
)

_SHORTEST_REPORT: Final = 16
_SENTENCE_END: Final = re.compile(r"(?<=[.!?])[ \t]+(?=[A-Z\"'`(\[\d])|(?<=[。！？])|\n+")
_WHY: Final = re.compile(
    r"\b(?:root cause|because|due to|caused by|turns? out|the (?:real |actual |underlying )?(?:issue|problem|bug|error"
    r"|failure|reason|cause|fix|solution|trick|key) (?:is|was|lies|came|comes)|fixed by|fix(?:es|ed)? (?:the|it|this)"
    r"|solved by|resolved by|instead of|rather than|so that|which (?:means|made|broke)|needs? to be"
    r"|needed|requires?|must"
    r"|should have|only works|does(?: not|n't) work|never|always|lesson|work(?:s|ed) (?:after|because|once|when|only)"
    r"|without (?:it|this)|otherwise|makes? sure|ensures?)\b|因为|由于|原因|解决|必须|需要|而不是|导致",
    re.IGNORECASE,
)
_PLANNING: Final = re.compile(
    r"^(?:ok(?:ay)?|great|now|next|first|then|alright|hmm|so)?[,.! ]{0,3}(?:let me|let's|let us|i(?:'ll| will| need to"
    r"| should| want to| am going to|'m going to)|we(?:'ll| will| need to| should)|to (?:begin|start)"
    r"|maybe|perhaps|please"
    r"|could you|would you|do you|thank|hello|hi\b|sure|certainly|of course|you are welcome)\b|\?\s*$",
    re.IGNORECASE,
)
_SPECIFIC: Final = re.compile(
    r"`[^`]+`|\b\w+_\w+\b|\b\w+\.\w+\(|\w+\(\)|\b[\w-]+(?:/[\w.-]+)+|\b[a-z]+[A-Z]\w+|--\w+|\b\d+(?:\.\d+)*\b"
)


def judged(steps: Sequence[Step]) -> list[Judged]:
    """Return each step with its kind and its failure, if any."""
    return [Judged(step, kind_of(step), failure_of(step)) for step in steps]


def failure_of(step: Step) -> Failure | None:
    """Return the error a step ran into, or None; what a look at a file shows is not an error."""
    if step.failed is False or (step.failed is None and kind_of(step) == "look"):
        return None
    if not step.observation and step.failed is None:
        # A list of sentences: each says what was done and how it went.
        return named_failure(step.action) if is_sentence(step.action) else None
    tail = step.observation[-_TAIL_CHARS:]
    found = [match for match in _ERRORS.finditer(tail) if not _NO_ERROR.search(match["line"])]
    if found:
        # Python names the exception last; a compiler's first error causes the others.
        best = next((match for match in reversed(found) if match["type"]), found[0])
        return Failure(_type_of(best), clipped(best["line"], 240))
    said = _JSON_ERROR.search(tail) if step.failed or len(tail) < 1_000 else None
    if said and (said["said"] or step.failed or '"error' in tail):
        return Failure("error", clipped(said["line"] or said["said"], 240))
    if step.failed and tail.strip():
        return Failure("failed command", clipped(tail.strip().splitlines()[-1], 240))
    return None


def named_failure(text: str) -> Failure | None:
    """Return the failure that a narrative tells of, or None."""
    text = text[-_TAIL_CHARS:]
    if found := _TOLD.search(text):
        return Failure(found["type"] or found["http"], clipped(found[0], 240))
    told = next((sentence for sentence in sentences(text) if _FAILED.search(sentence)), None)
    return Failure("unresolved", clipped(told, 240)) if told else None


def succeeded(step: Step) -> bool:
    """True when the step says, or its output shows, that it worked."""
    if step.failed is not None:
        return not step.failed
    return failure_of(step) is None and bool(_SUCCESS.search(step.observation[-_TAIL_CHARS:]))


def kind_of(step: Step) -> Kind:
    """Return whether the action changed something, checked something, or only looked."""
    action = step.action.lstrip()
    if not action:
        return "other"
    if _LOOKS.match(action) or re.search(r'"command": ?"view"', action[:200]):
        return "look"
    if _CHANGES.match(action) or re.match(r"\w*(?:edit|write|patch|replace|update|create)", action, re.IGNORECASE):
        return "change"
    return "check" if _CHECKS.match(action) else "other"


def explanations(steps: Sequence[Step], *, limit: int) -> list[str]:
    """Return the agent's own sentences that say why, best first chosen, in their order."""
    scored: dict[str, tuple[float, int]] = {}
    for place, (position, sentence) in enumerate(_sentences(steps)):
        if (score := _worth(sentence)) > 0:
            # The end of a run knows more than its beginning.
            late = position / max(len(steps), 1)
            scored.setdefault(sentence, (score + late, place))
    best = sorted(scored, key=lambda sentence: (-scored[sentence][0], scored[sentence][1]))[:limit]
    return sorted(best, key=lambda sentence: scored[sentence][1])


def tells(text: str) -> bool:
    """True when at least one sentence of a text reports something: no plan, no courtesy, no question."""
    return any(len(part) >= _SHORTEST_REPORT and not _PLANNING.search(part) for part in sentences(text))


def sentences(text: str) -> list[str]:
    """Return the sentences of a text, blanks normalised, in order; lines end sentences too."""
    parts = (" ".join(part.split()) for part in _SENTENCE_END.split(text))
    return [part.lstrip("-*•# ").strip() for part in parts if part.strip("-*•# ")]


def changed_places(patch: str, *, limit: int = 6) -> list[str]:
    """Return what a unified diff changes: file, place, and the first changed lines of each hunk."""
    places: list[str] = []
    path = ""
    for block in re.split(r"^(?=diff --git |--- |@@ )", patch, flags=re.MULTILINE):
        if found := re.match(r"(?:diff --git a/\S+ b/|--- \S+\s+\+\+\+ (?:b/)?)(\S+)", block):
            path = found[1]
        elif block.startswith("@@") and path and len(places) < limit:
            places.append(_hunk(block, path))
    return places


def is_sentence(action: str) -> bool:
    """True for an action told in words rather than given as a command or call."""
    return bool(re.match(r"[A-Z][a-z']*(?: [\w'\"`-]+[:,]?){2}", action)) and "{" not in action


def is_patch(text: str) -> bool:
    """True for a unified diff."""
    return bool(re.search(r"^(?:diff --git |@@ -\d)", text, re.MULTILINE))


def clipped(text: str, limit: int) -> str:
    """Return the text on one line, cut after a whole word, with an ellipsis, when it is over `limit` characters."""
    line = " ".join(text.split())
    if len(line) <= limit:
        return line
    cut = line.rfind(" ", limit // 2, limit)
    return f"{line[: cut if cut > 0 else limit].rstrip(' ,;:')} …"


def _type_of(match: re.Match[str]) -> str:
    named = match["type"] or match["compiler"] or match["fatal"] or match["shell"] or match["http"]
    if named:
        return named.strip()
    return "compile error" if match["located"] else "error"


def _sentences(steps: Sequence[Step]) -> Iterator[tuple[int, str]]:
    for position, step in enumerate(steps):
        for sentence in sentences(step.thought):
            yield position, sentence


def _worth(sentence: str) -> float:
    """Score a sentence: it explains, it is specific, it is no plan and no courtesy."""
    if not 25 <= len(sentence) <= 400 or _PLANNING.search(sentence):
        return 0.0
    why = len(_WHY.findall(sentence))
    return 0.0 if not why else 1 + 0.5 * min(why, 2) + (0.75 if _SPECIFIC.search(sentence) else 0.0)


def _hunk(block: str, path: str) -> str:
    header, _, body = block.partition("\n")
    place = header.split("@@")[-1].strip()
    changed = [line for line in body.splitlines() if line[:1] in {"+", "-"} and line[1:].strip()]
    lines = "\n".join(line[:160] for line in changed[:8])
    return f"`{path}`{f' in `{clipped(place, 100)}`' if place else ''}:\n{lines}".rstrip(":\n ")
