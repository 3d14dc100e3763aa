"""What a query wants, read by rules: its kind, the times and things it names, how it is written. Pure and fast."""

import re
from dataclasses import asdict, dataclass
from datetime import datetime, tzinfo
from typing import Literal

from reasoning_bank.records import JsonValue
from reasoning_bank.text.analyser import code_share, identifiers, main_line
from reasoning_bank.text.dates import TimeRange, time_ranges
from reasoning_bank.text.entities import Entities, find_entities
from reasoning_bank.text.languages import Writing, writing

Kind = Literal["task", "question", "error", "code", "identifier"]

CODE = 0.1
"""Share of code punctuation from which a text is code: prose is about .015, Python about .12."""
_READ = 4_000
# Times stand in what is asked, not in the log pasted below it.
_TIMES_READ = 1_000
_MOST_NAMES = 3
_COMPLEX_WORDS = 60
_COMPLEX_QUESTIONS = 2

_ASKING = re.compile(
    r"(?:who|what|when|where|which|why|how|whose|whom|is|are|was|were|do|does|did|can|could|should|would|will|has|have"
    r"|had|am|may)\b",
    re.IGNORECASE,
)
# "When I run it, it fails" asks for no time.
_ASKING_WHEN = re.compile(
    r"(?:since |until )?when (?:did|do|does|was|were|is|are|will|would|has|have|had|can|could|shall|should)\b"
    r"|(?:(?:in|on|at|since|until) )?(?:what|which) (?:date|day|week|month|year|time)\b|how long ago\b",
    re.IGNORECASE,
)
_FAILED = re.compile(
    r"traceback \(most recent call last\)|\b(?:error|exception|panic|fatal|segmentation fault|failed)\b\s*[:\[(]"
    r"|\bexit(?:ed with)? (?:code|status) [1-9]|^[ \t]*at \S+ ?\(.{1,200}:\d+",
    re.IGNORECASE | re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Intent:
    """What a query wants.

    Attributes:
        kind: a task description, a question, an error message, code, or nothing but code names.
        main_line: the line that says what it is about.
        times: stretches of time it names, to look for memories of then.
        entities: files, symbols, people and so on that it names.
        writing: its script, and language where that is plain.
        asks_when: whether it asks for a time, so that what states one is likely the answer.
        is_complex: whether rules see several questions or much text in it, which a model might take apart.
    """

    kind: Kind
    main_line: str
    times: tuple[TimeRange, ...]
    entities: Entities
    writing: Writing
    asks_when: bool
    is_complex: bool

    def as_json(self) -> dict[str, JsonValue]:
        """The intent as an explanation shows it; what the query does not name is left out."""
        named: dict[str, JsonValue] = {kind: list(names) for kind, names in asdict(self.entities).items() if names}
        return {
            "kind": self.kind,
            "main_line": self.main_line,
            "times": [_time_as_json(each) for each in self.times],
            "entities": named,
            "script": self.writing.script,
            "language": self.writing.language,
            "asks_when": self.asks_when,
            "is_complex": self.is_complex,
        }


def read_intent(task: str, *, now: datetime, zone: tzinfo) -> Intent:
    """What a query wants, from its first 4,000 characters.

    Args:
        task: the query.
        now: the clock, aware.
        zone: where "yesterday" begins at midnight.
    """
    text = task.strip()[:_READ]
    line = main_line(text)
    entities = find_entities(text)
    kind = _kind(text, line, entities)
    return Intent(
        kind=kind,
        main_line=line,
        times=time_ranges(_asked(text, line)[:_TIMES_READ], now=now, zone=zone),
        entities=entities,
        writing=writing(line),
        asks_when=bool(_ASKING_WHEN.match(line)),
        is_complex=_is_complex(text, kind),
    )


def _kind(text: str, line: str, entities: Entities) -> Kind:
    if _names_only(line, text):
        return "error" if entities.errors else "identifier"
    if _FAILED.search(text) or line.startswith(entities.errors or ("\0",)):
        return "error"
    if line.endswith("?") or _ASKING.match(line):
        return "question"
    return "code" if code_share(text) >= CODE else "task"


def _names_only(line: str, text: str) -> bool:
    words = line.split()
    return line == text and 0 < len(words) <= _MOST_NAMES and all(identifiers(word) for word in words)


def _asked(text: str, line: str) -> str:
    """The main line, and the last line where that is the question."""
    last = text.rpartition("\n")[2].strip()
    return f"{line} {last}" if last.endswith("?") and last != line else line


def _is_complex(text: str, kind: Kind) -> bool:
    if kind not in {"task", "question"}:
        return False
    return text.count("?") >= _COMPLEX_QUESTIONS or len(text.split(None, _COMPLEX_WORDS)) > _COMPLEX_WORDS


def _time_as_json(time: TimeRange) -> dict[str, JsonValue]:
    return {
        "phrase": time.phrase,
        "start": time.start.isoformat(),
        "end": time.end.isoformat(),
        "yearly": time.yearly,
    }
