"""The one gate in front of the bank: what is not worth remembering is refused, with the reason.

Deterministic and cheap; imported rows never come here.
"""

import re
from typing import Final

from reasoning_bank.learning.steps import read_steps
from reasoning_bank.records import MemoryItem, NewTrace
from reasoning_bank.text.sanity import strip_invisible

TITLE_CHARS = 300
DESCRIPTION_CHARS = 1_500
CONTENT_CHARS = 12_000
"""Longest parts of a distilled memory; what is longer is a document, not a lesson."""

_WORD: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_]+")
_LEAST_WORDS: Final = 5
_NEW_SHARE: Final = 0.2

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
        "always careful carefully more better best next time try again make sure should must will can could",
    )
)
_INSTRUCTION: Final = re.compile(
    r"\b(?:ignore|disregard|forget|override|bypass)\b[^.\n]{0,40}\b(?:previous|prior|above|earlier|all|any|your|system"
    r"|safety)\b[^.\n]{0,30}\b(?:instructions?|prompts?|rules?|guidelines?|messages?|policies|context)\b"
    r"|\byou are (?:now|no longer)\b|\b(?:from now on|as of now),? (?:you|always|never)\b"
    r"|\b(?:new|updated|real|hidden) (?:system )?(?:instructions?|prompt)s?\s*:"
    r"|\b(?:reveal|print|output|repeat|leak|send|exfiltrate|forward|upload"
    r"|post)\b[^.\n]{0,40}\b(?:system prompt|api keys?"
    r"|passwords?|credentials|secrets|environment variables|conversation|chat history|private keys?)\b"
    r"|\b(?:do not|don't|never) (?:tell|inform|mention|show|reveal)\b[^.\n]{0,20}\b(?:user|human|anyone|operator)\b"
    r"|</?(?:system|instructions?|admin|im_start|im_end)>|<\|im_(?:start|end)\|>|\[/?(?:INST|SYSTEM)\]"
    r"|^(?:system|developer) ?(?:prompt|message)? ?:|\bwithout (?:asking|telling|informing) (?:the )?(?:user|human)\b"
    r"|\bpretend (?:to be|you are)\b|\bjailbreak\b|\bdeveloper mode\b",
    re.IGNORECASE | re.MULTILINE,
)
_QUOTED: Final = re.compile(r"`([^`\n]{1,400})`")


def refusal(item: MemoryItem, report: NewTrace) -> str | None:
    """Return why the item must not be kept, in one sentence for its author, or None when it may.

    Args:
        item: as distilled by rules, a model or the client.
        report: the trace it claims to come from.
    """
    said = f"{item.description}\n{item.content}"
    checks = (
        _length(item),
        _substance(item),
        _instruction(item),
        _echo(said, report.task) if not item.error_context else None,
        _support(item, report),
    )
    return next((reason for reason in checks if reason), None)


def _length(item: MemoryItem) -> str | None:
    for name, limit in (("title", TITLE_CHARS), ("description", DESCRIPTION_CHARS), ("content", CONTENT_CHARS)):
        if len(getattr(item, name)) > limit:
            return f"over length: {name} has {len(getattr(item, name))} characters, the limit is {limit}"
    return None


def _substance(item: MemoryItem) -> str | None:
    if not item.content.strip() and not item.description.strip():
        return "no content: say what to do, in one to five sentences"
    words = _words(item.content or item.description)
    if len(words) < _LEAST_WORDS:
        return f"too short: {len(words)} words say too little to act on"
    if len(set(words) - _EMPTY_WORDS) < 3:
        return "no content: it says that something happened, but not what to do"
    return None


def _instruction(item: MemoryItem) -> str | None:
    text = f"{item.title}\n{item.description}\n{item.content}"
    if len(strip_invisible(text)) < len(text.replace("\r", "")) - 2:
        return "instruction-like: it holds hidden characters"
    if found := _INSTRUCTION.search(strip_invisible(text)):
        return f"instruction-like: {found[0].strip()[:60]!r} speaks to the assistant, not about the task"
    return None


def _echo(said: str, task: str) -> str | None:
    words, known = set(_words(said)) - _EMPTY_WORDS, set(_words(task))
    if words and len(words - known) / len(words) < _NEW_SHARE:
        return "duplicate of the task: it repeats the question and adds nothing to it"
    return None


def _support(item: MemoryItem, report: NewTrace) -> str | None:
    """Check that what our own distillation quotes was really said; a client was there and may know more."""
    if item.origin == "client":
        return None
    quoted = _QUOTED.findall(f"{item.title}\n{item.description}\n{item.content}")
    if not quoted:
        return None
    evidence = _evidence(report)
    for quote in quoted:
        missing = next((word for word in quote.split() if len(word) > 2 and word not in evidence), None)
        if missing:
            return f"not supported by the trace: {missing!r} does not occur in it"
    return None


def _evidence(report: NewTrace) -> str:
    steps = read_steps(report.trajectory)
    said = (part for step in steps for part in (step.thought, step.action, step.observation, step.tool))
    return "\n".join([report.task, *said]).replace("`", "'")


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]
