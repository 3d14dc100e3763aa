"""How much a text tells: what it states, apart from what it asks."""

import re

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_CLOSING = "\"')"


def asking_share(text: str) -> float:
    """Share of a text's characters that stand in questions, 0..1."""
    sentences = _SENTENCE_END.split(text.strip())
    total = sum(map(len, sentences))
    return sum(len(each) for each in sentences if is_question(each)) / total if total else 0.0


def stated(text: str) -> str:
    """A text without its questions."""
    return " ".join(each for each in _SENTENCE_END.split(text.strip()) if not is_question(each))


def is_question(sentence: str) -> bool:
    """Whether a sentence asks."""
    return sentence.rstrip(_CLOSING).endswith("?")
