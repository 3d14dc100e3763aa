"""What of a memory is indexed: the text it is found by, the vectors it needs, and the hash of both."""

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from reasoning_bank.records import EventTime, MemoryItem

_ALPHABETIC_WORD = re.compile(r"[^\W\d_]{3,}")
_MONTHS = [
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
]
# A content of ten different words counts half as much as the text: the solution of a task says what
# the task was about, an opaque answer (a URL, a number) does not.
_HALF_WEIGHT_WORDS = 10


@dataclass(frozen=True, slots=True)
class Field:
    """One text of a memory that gets a vector.

    Attributes:
        name: "text" (what it is found by) or "content" (the advice itself).
        weight: share of this field's vector in the memory's vector; the text has 1.
    """

    name: Literal["text", "content"]
    text: str
    weight: float


def indexed_text(item: MemoryItem) -> str:
    """The text a memory is found by, with who and when in front where both are known.

    Example: `Caroline (07 May 2023): I went to a support group`.
    """
    date = written_date(item.time)
    return f"{item.actor} ({date}): {item.text}" if item.actor and date else item.text


def index_fields(item: MemoryItem) -> list[Field]:
    """The fields to embed, text first; the content is left out where it carries no words."""
    fields = [Field("text", indexed_text(item), 1.0)]
    if weight := content_weight(item.content):
        fields.append(Field("content", item.content, weight))
    return fields


def content_weight(content: str) -> float:
    """How much a content's vector counts beside the text's, 0..1: n/(n+10), n different words of 3 letters or more."""
    words = {word.lower() for word in _ALPHABETIC_WORD.findall(content)}
    return len(words) / (len(words) + _HALF_WEIGHT_WORDS)


def content_hash(item: MemoryItem) -> str:
    """The sha256 hex digest of all that is embedded and indexed of an item; equal hashes retrieve alike."""
    parts = (indexed_text(item), item.title, item.content)
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def event_moment(time: EventTime) -> datetime | None:
    """The date and time an event time names, or None for order numbers, unknown times and other text."""
    if not isinstance(time, str):
        return None
    try:
        return datetime.fromisoformat(time.strip())
    except ValueError:
        return None


def written_date(time: EventTime) -> str:
    """An event time as people write dates, "07 May 2023", or "" when it names no date.

    Month names are English whatever the locale: they are part of what is embedded and must not differ between machines.
    """
    moment = event_moment(time)
    return f"{moment.day:02d} {_MONTHS[moment.month - 1]} {moment.year:04d}" if moment else ""
