"""The one gate in front of the bank: what is not worth remembering is refused, with the reason.

Deterministic and cheap; imported rows never come here. What looks like an instruction is not refused but kept apart,
see `intake`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from reasoning_bank.learning.evidence import sentences
from reasoning_bank.learning.literals import literals
from reasoning_bank.learning.recall import own_steps
from reasoning_bank.records import MemoryItem, NewTrace

TITLE_CHARS = 300
DESCRIPTION_CHARS = 1_500
CONTENT_CHARS = 12_000
"""Longest parts of a distilled memory; what is longer is a document, not a lesson."""
MODEL_CONTENT_CHARS = 1_500
"""Longest advice of a language model, which was asked for five sentences."""

Code = Literal[
    "over length",
    "no content",
    "too short",
    "not atomic",
    "not actionable",
    "no error context",
    "echo of the task",
    "echo of a memory",
    "not supported",
]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a memory is not kept.

    Attributes:
        code: what refusals are counted by.
        said: one sentence for the author.
    """

    code: Code
    said: str

    def __str__(self) -> str:
        """The code and the sentence."""
        return f"{self.code}: {self.said}"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a memory must be supported by: the task, and all that was thought, done and seen, as one text."""

    task: str
    said: str
    lowered: str
    numbers: frozenset[str]


_WORD: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_]+")
_NUMBER: Final = re.compile(r"\d+(?:[.,:]\d+)*")
_LEAST_WORDS: Final = 5
_NEW_SHARE: Final = 0.2
_LEAST_PARTS: Final = 3
_LEAST_RULES: Final = 2
_COMMON_SHARE: Final = 0.34

# Words that say that something went well or badly, but not what.
_EMPTY_WORDS: Final = frozenset(
    re.findall(
        r"\w+",
        "the a an it this that task tasks was were is are be been has have had and or of to in on for with "
        "by as i we you "
        "successfully success successful completed complete completes completion done finished finish worked "
        "works work "
        "fixed fix solved solve issue issues problem problems failed fail failure error errors correctly properly well "
        "everything all good great ok okay fine now result results final expected please thanks remember "
        "note important "
        "always careful carefully more better best next time try again make sure should must will can could "
        "do does did just very really now then so not no",
    )
)
_GLUE: Final = _EMPTY_WORDS | frozenset(
    re.findall(
        r"\w+",
        "when if never use avoid before after not no do does don only so than then its from at your instead "
        "check because otherwise without every each any",
    )
)
# What tells somebody what to do: advice, a condition, a cause, or somebody spoken to.
_ADVICE: Final = re.compile(
    r"\b(?:should|must|need(?:s|ed)? to|have to|has to|can(?:not|'t| not)?|never|always|avoid|instead|rather than"
    r"|prefer|if|when(?:ever)?|unless|until|before|after|once|because|since|due to|so that|otherwise|without|your?"
    r"|requires?|only|means|causes?d?|makes?|leads? to|results? in|prevents?|fail(?:s|ed)?|breaks?|works?"
    r"|needs|expects?|resolved|solution|by \w+ing)\b",
    re.IGNORECASE,
)
# Who did what, as a diary tells it: no advice hides in such a sentence.
_REPORT: Final = re.compile(
    r"^(?:and |then |so |finally,? |after that,? |later,? )?(?:i|we|he|she|they|it"
    r"|the (?:user|customer|client|assistant|agent|model|team|conversation|session|meeting|task|run|answer|day|work"
    r"|project|request|chat))\b[^.!?]{0,80}?\b(?:was|were|had|did|went|said|got|felt|made|took|gave"
    r"|told|\w{3,}ed)\b",
    re.IGNORECASE,
)
# What makes a part of a list a lesson of its own rather than a step: it says when, or for ever.
_RULE: Final = re.compile(r"\b(?:always|never|when(?:ever)?|if|avoid|prefer|do not|don't|instead)\b", re.IGNORECASE)
_CONCRETE: Final = re.compile(r"`|\d|\w_\w|\w\(\)|\w/\w|--\w|[{}=<>]|[a-z][A-Z]")
_PART: Final = re.compile(r"^[ \t]*(?:[-*•]|\d{1,2}[.)])[ \t]+", re.MULTILINE)


def evidence_of(reports: Iterable[NewTrace]) -> Evidence:
    """Return what the traces say, without what their runs were told by the bank."""
    told = list(reports)
    steps = [step for report in told for step in own_steps(report.trajectory)]
    said = (part for step in steps for part in (step.thought, step.action, step.observation, step.tool))
    tasks = [report.task for report in told]
    text = "\n".join([*tasks, *said]).replace("`", "'")
    return Evidence("\n".join(tasks), text, text.lower(), frozenset(_NUMBER.findall(text)))


def refusal(item: MemoryItem, evidence: Evidence, *, force: bool = False) -> Refusal | None:
    """Return why the item must not be kept, or None when it may.

    Args:
        item: as distilled by rules, a model or the client.
        evidence: of the traces it claims to come from.
        force: somebody wants it whatever it is worth: only its length is looked at.
    """
    if force:
        return _length(item)
    said = f"{item.description}\n{item.content}"
    reasons = (
        _length(item),
        _substance(item),
        None if item.error_context else _echo(said, evidence.task),
        _atomic(item),
        _actionable(item),
        _error_context(item),
        # A client was there and may know more than it wrote down.
        None if item.origin == "client" else unsupported(item, evidence),
    )
    return next((reason for reason in reasons if reason), None)


def unsupported(item: MemoryItem, evidence: Evidence) -> Refusal | None:
    """Return a refusal when the item names something that does not occur in the evidence: a literal of its own."""
    context = item.error_context
    guidance = (context.error_type, context.failure_pattern, context.corrective_guidance) if context else ()
    named = literals("\n".join([item.title, item.description, item.content, *guidance]))
    missing = next((literal for literal in named if not _occurs(literal, evidence)), None)
    return Refusal("not supported", f"{missing!r} does not occur in the trace") if missing else None


def _occurs(literal: str, evidence: Evidence) -> bool:
    if _NUMBER.fullmatch(literal):
        return literal in evidence.numbers or literal.replace(",", "") in evidence.numbers
    return literal in evidence.said or literal.lower() in evidence.lowered


def _length(item: MemoryItem) -> Refusal | None:
    content_chars = MODEL_CONTENT_CHARS if item.origin == "llm" else CONTENT_CHARS
    limits = (("title", TITLE_CHARS), ("description", DESCRIPTION_CHARS), ("content", content_chars))
    for name, limit in limits:
        if (length := len(getattr(item, name))) > limit:
            return Refusal("over length", f"{name} has {length} characters, the limit is {limit}")
    return None


def _substance(item: MemoryItem) -> Refusal | None:
    if not item.content.strip() and not item.description.strip():
        return Refusal("no content", "say what to do, in one to five sentences")
    words = _words(item.content or item.description)
    if len(words) < _LEAST_WORDS:
        return Refusal("too short", f"{len(words)} words say too little to act on")
    if len(set(words) - _EMPTY_WORDS) < 3:
        return Refusal("no content", "it says that something happened, but not what to do")
    return None


def _atomic(item: MemoryItem) -> Refusal | None:
    """Refuse a list of lessons that have nothing to do with each other; steps of one way share their words."""
    if item.origin == "rules":
        return None
    lead, *texts = _PART.split(item.content)
    if len(texts) < _LEAST_PARTS or sum(1 for text in texts if _RULE.search(text)) < _LEAST_RULES:
        return None
    parts = [set(_words(text)) - _GLUE for text in texts]
    topic = set(_words(f"{item.title} {item.description} {lead}")) - _GLUE
    joined = sum(1 for at, part in enumerate(parts) if part & topic or any(part & other for other in parts[:at]))
    if joined / len(parts) < _COMMON_SHARE:
        return Refusal("not atomic", f"it holds {len(parts)} lessons on different matters: send each as its own memory")
    return None


def _actionable(item: MemoryItem) -> Refusal | None:
    context = item.error_context
    said = "\n".join([item.description, item.content, context.corrective_guidance if context else ""])
    if _ADVICE.search(item.content) or _CONCRETE.search(said) or (context and context.corrective_guidance.strip()):
        return None
    if not all(map(_REPORT.search, sentences(item.content or item.description))):
        return None
    return Refusal("not actionable", "it tells what happened, but not what to do the next time")


def _error_context(item: MemoryItem) -> Refusal | None:
    context = item.error_context
    if item.origin != "llm" or item.outcome != "failure":
        return None
    if context and context.failure_pattern.strip() and context.corrective_guidance.strip():
        return None
    return Refusal("no error context", "a lesson of a failure says how it shows and what to do instead")


def _echo(said: str, task: str) -> Refusal | None:
    words, known = set(_words(said)) - _EMPTY_WORDS, set(_words(task))
    if words and len(words - known) / len(words) < _NEW_SHARE:
        return Refusal("echo of the task", "it repeats the question and adds nothing to it")
    return None


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]
