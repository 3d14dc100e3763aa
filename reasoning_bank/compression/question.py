"""What a prompt itself asks: the query of a compression whose caller gives none."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from reasoning_bank.compression.edits import Segment

_READ: Final = 1_000
"""Characters of instructions that are taken as a query; a longer list of rules says little about what is wanted."""
_NEAR_AN_END: Final = 1_500
_LABELLED: Final = re.compile(
    r"[-*>#\s]*(?:\*\*)?(?:question|query|task|goal|problem|request|issue)\b[^:\n]{0,20}:(?:\*\*)?\s*(?P<rest>\S.*)",
    re.IGNORECASE,
)
_SENTENCE_END: Final = re.compile(r"(?<=[.!?。！？])\s+")
_QUESTION_END: Final = re.compile(r"[?？][\s*_\"')\]]*$")


def own_question(text: str, segments: Sequence[Segment]) -> str | None:
    """Return the question or the instruction of a prompt, or None where it has none.

    In this order: the last turn of a chat, if it asks; the last line of its instructions that is a question; the last
    that is labelled as the task; the sentence it ends with, if it asks; what instructions stand near one of its ends.
    """
    if segments and segments[-1].kind == "chat" and (turn := _last_line(text, segments[-1])):
        return turn
    lines = list(_lines(text, [segment for segment in segments if segment.is_protected]))
    questions = [line for _, line in lines if _QUESTION_END.search(line)]
    if questions:
        return questions[-1]
    labelled = [found["rest"] for _, line in lines if (found := _LABELLED.match(line))]
    if labelled:
        return labelled[-1]
    if segments and segments[-1].kind == "prose" and (last := _last_sentence(text, segments[-1])):
        return last
    near = [line for at, line in lines if min(at, len(text) - at) < _NEAR_AN_END]
    return "\n".join(near)[:_READ] or None


def _lines(text: str, instructions: Sequence[Segment]) -> Iterator[tuple[int, str]]:
    for segment in instructions:
        at = segment.start
        for line in text[segment.start : segment.end].splitlines(keepends=True):
            if line.strip():
                yield at, line.strip()
            at += len(line)


def _last_sentence(text: str, segment: Segment) -> str | None:
    line = _last_line(text, segment)
    return _SENTENCE_END.split(line)[-1] if line else None


def _last_line(text: str, segment: Segment) -> str | None:
    line = text[segment.start : segment.end].rstrip().rsplit("\n", 1)[-1].strip()
    return line[-_READ:] if _QUESTION_END.search(line) else None
