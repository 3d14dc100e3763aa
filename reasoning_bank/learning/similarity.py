"""Whether two lessons say the same, the opposite, or two different things: by their meaning and their words together.

Vectors of sentences that differ in a number, a name or a "not" are nearly the same, so likeness of meaning decides
nothing alone: numbers, names, negations and the order of things must agree, and one word in another's place makes
another lesson. What is not clearly the same stays two: a repeated lesson costs some tokens, a lost one is lost.
The constants are calibrated on tests/learning/likeness.txt with the default model.
"""

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final, Literal

from reasoning_bank.records import MemoryItem
from reasoning_bank.text.analyser import words

NEAR: Final = 0.74
"""Cosine below which two lessons are about different matters, whatever their words."""
SAME: Final = 0.86
"""Cosine from which lessons in different words can say the same."""
REPEATED: Final = 0.75
"""Share of common words from which one text repeats the other, and each word that differs matters."""
_REWORDED: Final = 0.6
_LEAST_SHARE: Final = 0.25
_LEAST_WORDS: Final = 4
_FEW: Final = 2
_OPPOSED_SHARE: Final = 0.55
_READ: Final = 4_000
_ROLE_WORDS: Final = 8

OTHER_VALUE: Final = "another value: "
"""What the reason begins with where two lessons set the same thing to two values."""
Relation = Literal["same", "opposite", "different"]

_QUOTED: Final = re.compile(r"[`\"]([^`\"\n]{1,200})[`\"]")
_NUMBER: Final = re.compile(r"(?<![\w.-])v?\d+(?:[.,:]\d+)*")
_NAME: Final = re.compile(r"(?<![\w-])(?:--?[a-z][\w-]*|[A-Za-z_]\w*(?:(?:[./:]|::)\w+)*(?:\(\))?)")
# A capital that no beginning of a sentence explains.
_PROPER: Final = re.compile(r"(?<=[\w,;)\"'] )[A-Z][\w-]+")
_CODE_LIKE: Final = re.compile(r"[_/]|\w[.:]\w|[a-z][A-Z]|\d|^-|\(\)$")
_SETTING: Final = re.compile(
    r"(`[^`\n]{1,80}`|\b[A-Za-z][\w.-]*(?: [a-z][\w-]*)?)\s*(?:=|:|\b(?:to|is|of|at)\b)\s*"
    r"(`[^`\n]{1,80}`|\"[^\"\n]{1,80}\"|\d+(?:[.,]\d+)*|\b(?:true|false|on|off|yes|no|none|null)\b)",
    re.IGNORECASE,
)
# What forbids an action; "cannot" and "does not" only describe.
_FORBIDS: Final = re.compile(
    r"(?<!that )(?<!which )(?<!they )(?<!who )\b(?:do not|don't)\b"
    r"|(?:^|[.;:,!?]\s|\band )never\b"
    r"|\b(?:(?<!to )avoid|avoiding|refrain|ignore|skip|no need)\b"
    r"|\b(?:must not|mustn't|should not|shouldn't|may not)\b"
    r"|\band (?:not|no)\b|(?<!^)(?<!\. )\bwithout\b|\bstop (?=\w+ing\b)",
    re.IGNORECASE,
)
_EXCEPT: Final = re.compile(r"^[^.;]*\b(?:until|unless)\b", re.IGNORECASE)
_DENIES: Final = re.compile(r"\b(?:not|never|no|cannot|nor|neither)\b|n't\b", re.IGNORECASE)
_BOUNDARY: Final = re.compile(
    r"[;:.!?,]\s|\n|\b(?:because|since|otherwise|unless|so that|whereas|although|while|or)\b|$", re.IGNORECASE
)
_ROLE: Final = re.compile(r"\b(before|after|instead of|rather than|than|to)\b", re.IGNORECASE)
_OPPOSITES: Final[list[tuple[str, str]]] = re.findall(
    r"(\w+)/(\w+)",
    "enable/disable enabled/disabled enabling/disabling increase/decrease increases/decreases raise/lower "
    "raising/lowering allow/deny allow/forbid accept/reject on/off true/false always/never open/close "
    "keep/delete keep/remove keep/drop add/remove absolute/relative up/down include/exclude enforce/bypass "
    "more/less more/fewer larger/smaller longer/shorter higher/lower use/avoid prefer/avoid lock/unlock "
    "encrypt/decrypt synchronous/asynchronous sync/async sequential/parallel upgrade/downgrade eager/lazy "
    "public/private safe/unsafe required/optional minimum/maximum most/least ascending/descending "
    "manual/automatic manually/automatically early/late start/stop mount/unmount trust/distrust commit/ignore",
)
# Words that join clauses or soften them, and groups that stand for each other: none of them makes another lesson.
_JOINING: Final = frozenset(
    words("because since as otherwise unless or although while when if then so must may only also always need needs")
)
_SYNONYMS: Final = tuple(
    frozenset(words(group))
    for group in (
        "use using call run apply invoke execute",
        "every each all any whole",
        "ensure check verify confirm",
        "delete remove drop",
        "make create build produce",
        "give return hand",
        "show display print",
        "start begin launch",
        "end finish",
        "fix repair correct",
        "error failure fault",
        "choose select pick",
        "set configure",
        "large big",
        "otherwise else",
        "find look search",
        "insert put enter",
        "write add",
        "before first prior",
    )
)


@dataclass(frozen=True, slots=True)
class Compared:
    """What two lessons are to each other, and why, for whoever reads it later."""

    relation: Relation
    reason: str


def lesson_of(item: MemoryItem) -> "Lesson":
    """What an item advises; of the same words the same one, as lessons are compared again and again."""
    return _known((item.content.strip() or item.text)[:_READ])


class Lesson:
    """What a text advises, read once."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def words(self) -> frozenset[str]:
        """Stemmed words without stop words, numbers, and what forbids or joins."""
        said = words(_FORBIDS.sub(" ", self.text).replace("`", " "))
        return frozenset(word for word in said if not word.isdigit()) - _JOINING

    @cached_property
    def plain(self) -> frozenset[str]:
        """All its words as written, in lower case."""
        return frozenset(re.findall(r"[a-z]+", self.text.lower()))

    @cached_property
    def numbers(self) -> frozenset[str]:
        """Numbers, versions and times."""
        return frozenset(each.lstrip("v").replace(",", ".") for each in _NUMBER.findall(self.text))

    @cached_property
    def names(self) -> frozenset[str]:
        """Identifiers, paths, options, whatever is quoted, and the names of persons, places and products."""
        rest = _QUOTED.sub(" ", self.text)
        found = [each for each in _NAME.findall(rest) if _CODE_LIKE.search(each)]
        return frozenset(map(_bare, [*_QUOTED.findall(self.text), *found, *_PROPER.findall(rest)]))

    @cached_property
    def prohibitions(self) -> int:
        """How often it says what not to do, but for what an "until" turns into a demand."""
        return sum(not _EXCEPT.search(self.text[each.end() :]) for each in _FORBIDS.finditer(self.text))

    @cached_property
    def denials(self) -> int:
        """How often it denies anything at all."""
        return len(_DENIES.findall(self.text))

    @cached_property
    def roles(self) -> tuple[tuple[str, frozenset[str]], ...]:
        """What stands after each word that gives things an order, such as "before", up to the end of its clause."""
        found: list[tuple[str, frozenset[str]]] = []
        for each in _ROLE.finditer(self.text):
            rest = self.text[each.end() :]
            end = _BOUNDARY.search(rest)
            part = words(rest[: end.start() if end else None].replace("`", " "))[:_ROLE_WORDS]
            found.append((each[1].lower(), frozenset(part) - _JOINING))
        return tuple(found)

    @cached_property
    def settings(self) -> dict[str, str]:
        """What is set to which value, by name."""
        return {_bare(name): _bare(value) for name, value in _SETTING.findall(self.text)}


def compared(one: Lesson, other: Lesson, cosine: float) -> Compared:
    """What two lessons are to each other.

    Args:
        one: a lesson.
        other: another one.
        cosine: of the vectors of what they say, -1..1, by the same model.
    """
    if cosine < NEAR:
        return Compared("different", "about other matters")
    if min(len(one.words), len(other.words)) < _LEAST_WORDS:
        return Compared("different", "too little is said")
    if against := opposed(one, other):
        return Compared("opposite", against)
    if doubt := _differing(one, other) or _doubt(one, other, cosine):
        return Compared("different", doubt)
    return Compared("same", f"the same in {'the same' if _share(one, other) >= REPEATED else 'other'} words")


@lru_cache(maxsize=2_000)
def _known(text: str) -> Lesson:
    return Lesson(text)


def opposed(one: Lesson, other: Lesson) -> str | None:
    """Why two lessons about the same matter contradict each other, or None where they do not."""
    return _clash(one, other) or (None if _each_has_its_own(one, other) else _against(one, other))


def _clash(one: Lesson, other: Lesson) -> str | None:
    """Which setting has another value in texts that are the same but for values, or None."""
    if one.names - _values(one) != other.names - _values(other) or _share(one, other) < REPEATED:
        return None
    for name, value in one.settings.items():
        if (theirs := other.settings.get(name, value)) != value:
            return f"{OTHER_VALUE}{name} is {value} here and {theirs} there"
    return None


def _values(lesson: Lesson) -> frozenset[str]:
    return frozenset(lesson.settings.values())


def _differing(one: Lesson, other: Lesson) -> str | None:
    """Which number or name only one of them has, or None."""
    for kind, mine, theirs in (("number", one.numbers, other.numbers), ("name", one.names, other.names)):
        # A name written without its quotes is still the same name.
        only = sorted({*(mine - theirs - other.plain), *(theirs - mine - one.plain)})
        if only:
            return f"only one has the {kind} {only[0]}"
    return None


def _each_has_its_own(one: Lesson, other: Lesson) -> bool:
    """Whether each has a number, or each a name, that the other has not: they are about different things."""
    return any(
        mine - theirs and theirs - mine for mine, theirs in ((one.numbers, other.numbers), (one.names, other.names))
    )


def _against(one: Lesson, other: Lesson) -> str | None:
    """Why they advise the opposite of each other, or None."""
    smaller = min(len(one.words), len(other.words))
    if not smaller or len(one.words & other.words) / smaller < _OPPOSED_SHARE:
        return None
    if one.prohibitions % 2 != other.prohibitions % 2:
        return "one forbids what the other advises"
    for first, second in _OPPOSITES:
        if _apart(first, second, one, other) or _apart(second, first, one, other):
            return f"one says {first}, the other {second}"
    return _reversed(one, other)


def _apart(first: str, second: str, one: Lesson, other: Lesson) -> bool:
    return first in one.plain - other.plain and second in other.plain - one.plain


def _reversed(one: Lesson, other: Lesson) -> str | None:
    """Which word puts the same things into the opposite order, or None."""
    for word, mine in one.roles:
        for its, theirs in other.roles:
            only_mine, only_theirs = mine - theirs, theirs - mine
            swapped = only_mine and only_theirs and only_mine <= other.words and only_theirs <= one.words
            if word == its and swapped:
                return f"{word!r} stands between the same things in opposite order"
            if {word, its} == {"before", "after"} and mine and mine & theirs:
                return "what one puts before, the other puts after"
    return None


def _doubt(one: Lesson, other: Lesson, cosine: float) -> str | None:
    """Why they may say different things, or None."""
    if cosine < SAME:
        return "not alike enough"
    if one.prohibitions != other.prohibitions:
        return "one forbids more"
    share = _share(one, other)
    if share < _LEAST_SHARE:
        return "too few words in common"
    if share >= REPEATED and one.denials % 2 != other.denials % 2:
        return "one denies something"
    mine, theirs = _unmatched(one.words, other.words)
    if share >= _REWORDED and mine and theirs and max(len(mine), len(theirs)) <= _FEW:
        return f"{sorted(mine)[0]} stands where the other has {sorted(theirs)[0]}"
    return None


def _unmatched(mine: frozenset[str], theirs: frozenset[str]) -> tuple[set[str], set[str]]:
    """Words that only one has and for which the other has no other word."""
    only_mine, only_theirs = set(mine - theirs), set(theirs - mine)
    for group in _SYNONYMS:
        if only_mine & group and only_theirs & group:
            only_mine -= group
            only_theirs -= group
    return only_mine, only_theirs


def _share(one: Lesson, other: Lesson) -> float:
    """Common words over all words (Jaccard), 0..1."""
    both = one.words | other.words
    return len(one.words & other.words) / len(both) if both else 0.0


def _bare(name: str) -> str:
    return name.strip("`\"'() ").lower()
