"""Is an answer worth remembering? By rules, for what a conversation leaves behind.

Worth it is what somebody could not have known: a cause, a way, a place, a limit, a decision, said concretely. Not worth
it are courtesies, promises, questions back, what holds only now, what anybody knows, and answers that know nothing.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from reasoning_bank.learning.evidence import sentences

KEPT_FROM: Final = 0.5
"""Score from which an answer is kept."""
LEAST_WORDS: Final = 6
_READ: Final = 8_000

_WORD: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_]+")
_NOTHING: Final = re.compile(
    r"\bi(?:'m| am)? (?:do not|don't|not) (?:know|sure|able)\b|\bi (?:can(?:no|')t|could(?: not|n't)"
    r"|was(?: not|n't) able|am unable)\b|\bas an ai\b|\bhard to say\b|\bit depends\b|\bno idea\b|\bi would have to\b"
    r"|\bsomething went wrong\b|\bthere was an error\b|\btry again later\b|\bmaybe\b"
    r"|我不知道|不清楚|keine ahnung|je ne sais pas",
    re.IGNORECASE,
)
_COURTESY: Final = re.compile(
    r"^(?:hi|hello|hey|good (?:morning|evening)|thanks?|thank you|you(?:'re| are) welcome|great|sure|of course"
    r"|ok(?:ay)?|yes|no|certainly|done|here it is|gern geschehen|bitte|hallo|你好|不客气|好的)"
    r"\b[^.!?。！]{0,40}[.!?,。！]?$|\b(?:how can i help|let me know if"
    r"|anything else|what would you like|happy to help|here to help|有什么可以帮)",
    re.IGNORECASE,
)
_PROMISE: Final = re.compile(
    r"\b(?:let me|i(?:'ll| will| am going to|'m going to| can)|i(?:'m| am) (?:\w+ing|here|your)|working on|continuing"
    r"|in progress|please wait|get back to you|a moment|few more minutes)\b",
    re.IGNORECASE,
)
_MOMENTARY: Final = re.compile(
    r"\b(?:right now|at the moment|currently|today|tonight|tomorrow|yesterday|this (?:morning|afternoon|evening)|so far"
    r"|half way|is (?:up|down|running|done|on holiday)|it(?:'s| is) \w+ (?:now|today))\b",
    re.IGNORECASE,
)
_OPINION: Final = re.compile(
    r"\b(?:i (?:think|like|love|enjoy|feel)|looks? (?:really )?(?:nice|good|great)|(?:really|very) nice|tasty|joke"
    r"|how about|everybody was happy|great (?:language|choice|question))\b",
    re.IGNORECASE,
)
_REPORT: Final = re.compile(
    r"^(?:yes,? |done,? )?(?:i(?:'ve| have)?|it|the \w+) (?:just |have |has )?(?:worked|\w{3,}ed|did|made|is done)\b"
    r"[^,;:]{0,60}$",
    re.IGNORECASE,
)
_CAUSE: Final = re.compile(
    r"\b(?:because|since|so that|therefore|otherwise|due to|the (?:reason|cause|fix|trick)|which (?:means|breaks"
    r"|is why)|then|means|so (?:in practice|a|the|never|each|it|that)|instead|unless|until|before|after|once|if|when"
    r"|only)\b"
    r"|[;:] \w|因为|由于|所以|weil|sonst|statt|car\b|donc|parce que",
    re.IGNORECASE,
)
_WAY: Final = re.compile(
    r"\b(?:must|should|need(?:s|ed)?|have to|has to|may|cannot|can't|never|always|avoid|do not"
    r"|goes? (?:to|through|back)|we (?:use|decided|agreed|did)|at most|at least)\b|可以|必须|需要|把"
    # An imperative: a bare verb with what it is about behind it. What else begins a sentence is a short list.
    r"|(?:^|[.:;!] |, |\b(?:then|or|and|either|please) )(?!(?:the|a|an|it|this|that|these|those|there|he|she|we|you"
    r"|they|i|in|on|at|for|from|with|by|if|when|what|which|who|how|why|yes|no|not|both|and|but|so|as|all|each|only|one"
    r"|is|are|was|were|of|to|also|even|just|about)\b)(?!\w*(?:ed|ing|ly|tion|[^s]s)\b)[a-z]{2,}(?:-\w+)? "
    r"(?:the|an?|one|two|each|every|all|your|it|its|them|this|that|these|both|no|from|to|with|by|up|down|out|at|in|on"
    r"|for|into|only|first|[`'\"]|\d|\w+(?:es|s)\b|\w+[_=.(]\w*)",
    re.IGNORECASE,
)
_CONCRETE: Final = re.compile(
    r"`[^`]+`|\b\w+_\w+\b|\w+\(\)|\b\w+\.(?:\w+\.)*\w{2,}\b|(?:^|\s)--?\w[\w-]*|/\w+|\b[A-Z]{2,}\w*\b|\b[a-z]+[A-Z]\w+"
    r"|\b\d[\d.,:]*\s?(?:ms|s|%|MB|GB|KB|minutes?|hours?|seconds?|days?|rows|times|people)?|\b[A-Z]\w+(?: [A-Z]\w+)+"
    r"|\b(?:one|two|three|four|five|ten|per|every|each) (?:minutes?|hours?|seconds?|days?|weeks?|times?|[a-z]+)\b"
    r"|(?<=[a-z,;] )[A-Z][a-z]{2,}\w*|\w+-\w+"
)
_VAGUE: Final = frozenset(
    re.findall(
        r"\w+",
        "a an the it is are was were be been to of in on at for and or but so this that these those i you we they he "
        "she my your our their me us them do does did done have has had will would can could should may might must "
        "not no yes very really good great nice well better best fine ok okay thing things something anything "
        "everything nothing work works worked help please thanks just now then there here with from by as if when "
        "more most some any all also too always carefully test sure good results happy",
    )
)


@dataclass(frozen=True, slots=True)
class Appraisal:
    """What an answer is worth.

    Attributes:
        score: 0..1.
        reason: what decided, in a few words: a code, a colon, and a sentence.
    """

    score: float
    reason: str

    @property
    def is_worth_keeping(self) -> bool:
        """Whether the score reaches `KEPT_FROM`."""
        return self.score >= KEPT_FROM


def appraise(question: str, answer: str) -> Appraisal:
    """Return what an answer is worth to somebody who has the same question later.

    Args:
        question: as it was asked; what the answer takes over from it is nothing new.
    """
    parts = [part for part in sentences(answer[:_READ]) if not _COURTESY.search(part)]
    if not parts:
        return Appraisal(0.0, "courtesy: it says nothing about a matter")
    for code, said, applies in _EMPTY_ANSWERS:
        if all(applies(part) for part in parts):
            return Appraisal(0.1, f"{code}: {said}")
    told = " ".join(part for part in parts if not part.endswith(("?", "？")))
    new = {word for word in _words(told) if word not in _VAGUE} - set(_words(question[:_READ]))
    if len(_words(told)) < LEAST_WORDS or len(new) < 3:
        return Appraisal(0.2, "too little: it adds hardly a word to the question")
    return _weighed(told, new)


def _weighed(told: str, new: set[str]) -> Appraisal:
    """Weigh what an answer that says something says it with."""
    concrete = min(len(_CONCRETE.findall(told)), 4)
    signs = {
        "a cause or condition": 0.2 if _CAUSE.search(told) else 0.0,
        "a way to do it": 0.2 if _WAY.search(told) else 0.0,
        "concrete names and numbers": 0.08 * concrete,
        "enough new words": min(len(new), 15) / 15 * 0.3,
    }
    losses = {
        "it holds only now": 0.35 if _MOMENTARY.search(told) else 0.0,
        "it knows nothing for sure": 0.35 if _NOTHING.search(told) else 0.0,
        "it is an opinion": 0.4 if _OPINION.search(told) else 0.0,
        "it promises": 0.2 if _PROMISE.search(told) else 0.0,
    }
    score = max(0.0, min(1.0, 0.1 + sum(signs.values()) - sum(losses.values())))
    if score >= KEPT_FROM:
        return Appraisal(round(score, 2), "worth keeping: " + ", ".join(name for name, sign in signs.items() if sign))
    lacking = max(losses, key=lambda name: losses[name]) if any(losses.values()) else "it names no cause, way or thing"
    return Appraisal(round(score, 2), f"low value: {lacking}")


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]


_EMPTY_ANSWERS: Final[tuple[tuple[str, str, Callable[[str], object]], ...]] = (
    ("question back", "it asks, and tells nothing", lambda part: part.endswith(("?", "？"))),
    ("no answer", "it does not know", _NOTHING.search),
    ("promise", "it says what will be done, not what was found", _PROMISE.search),
    ("momentary", "it holds only now", _MOMENTARY.search),
    ("report", "it says that something was done, not how or why", _REPORT.search),
)
