"""What kind of text each line of a prompt belongs to, told by how lines of logs, diffs, chats, tables and code look."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from reasoning_bank.compression.edits import Kind

_READ: Final = 300
"""Characters of a line that are looked at."""

_LEVEL = r"(?:TRACE|DEBUG|INFO|NOTICE|WARN(?:ING)?|ERROR|FATAL|CRITICAL|SEVERE|PASSED|FAILED|SKIPPED)"
_CLOCK = r"\d{1,2}:\d{2}(?::\d{2})?"
_DATE = r"\d{4}[-/]\d\d[-/]\d\d"
_STAMP = rf"(?:{_DATE}[T ,]*{_CLOCK}|{_CLOCK}[.,\d]*|[A-Z][a-z]{{2}} +\d{{1,2}} {_CLOCK}|\d{{10,13}}(?:\.\d+)?)"
# Names in front of chat turns; what follows in brackets is a time.
_SPEAKER: Final = re.compile(
    r"(?:\[[^\]\n]{1,40}\] ?|\(\d[^)\n]{1,40}\) ?)?(?:\*\*|#+ ?)?"
    r"(?P<who>[A-Z][\w.'-]{0,24}(?: [A-Z][\w.'-]{0,24}){0,2})"
    r"(?:\*\*)?(?: ?[\[(][^)\]\n]{1,40}[)\]])?:(?:\*\*)?(?: |$)"
)
_LINE: Final = re.compile(
    r"(?P<blank>\s*$)"
    r"|(?P<trace>(?:.{0,80} )?Traceback \(most recent call last\):|\s+File \"[^\"]+\", line \d+|\s+at \S+.*[(:\d)]"
    r"|Caused by: |\s+\.\.\. \d+ more|Exception in thread |goroutine \d+ \[|stack backtrace:|panic: )"
    r"|(?P<diff>diff --git |@@ -\d+(?:,\d+)? \+\d+|Index: \S+$|--- \S+|\+\+\+ \S+)"
    r"|(?P<table>\s*\|.*\|\s*$|\s*\|?\s*:?-{3,}:?\s*(?:\|\s*:?-+:?\s*)+\|?\s*$)"
    rf"|(?P<log>[\[<(]?{_STAMP}\b|[\[<(]?{_LEVEL}[\]>):]|\S+ (?:- )?\[?{_STAMP}|[^a-z]{{0,40}}\b{_LEVEL}\b"
    rf"|.{{0,120}}\b(?:PASSED|FAILED|ERROR|SKIPPED|XFAIL|ok)\s*(?:\[ *\d+%\])?\s*$|E  +\S|[=_]{{5,}}.*[=_]{{5,}}\s*$"
    r"|.*\[ *\d{1,3}%\]\s*$|\x1b\[)"
    r"|(?P<listing>\s*\d+[:|](?:\s|$|\S))"
    r"|(?P<code>\t\S|\s*(?:[})\]]+[;,]?|\}? ?(?:else|try|finally|do)\b ?[{:]?)\s*$|.*[;{]\s*$"
    r"|\s*(?:async def|def|class) \w+.*:\s*(?:#.*)?$|\s*(?:from [\w.]+ import |import [\w.{*])"
    r"|\s*(?:if|for|while|with|elif|except)\b.*:\s*$|\s*(?:return|raise|yield|assert|await)\b.*[\w)\]\"'}]\s*$"
    r"|\s*(?:#include\b|(?:public|private|static|func|fn|let|const|var|export)\b.*)|\s*@\w[\w.]*(?:\(.*)?$"
    r"|\s*[\w.\[\]\"']+(?:: ?[\w\[\], |.]+)? ?[-+*/|&]?= ?\S|\s*[\w.]+\(.*\)?,?\s*$|\s*(?://|/\*|\*/)|#!"
    r"|\s*\"[^\"]{1,80}\" ?: ?[^\s].*[\w\"{}\[\]],?\s*$)"
    r"|(?P<yaml>---\s*$|\s*(?:- )?[\w./-]+:(?:\s+\S.*)?$|\s*- \S+$)"
)
_TRACE_END: Final = re.compile(r"[A-Za-z_][\w.$]*(?:Error|Exception|Warning|Interrupt|Exit|Fault|Panic)?\b(?::|$)")
_DIFF_LINE: Final = re.compile(
    r"[ +\-@\\]|index |(?:new|deleted|old) |similarity |rename |copy |Binary |diff --git |Index: |={10}"
)
_SENTENCE: Final = re.compile(r"[.!?…\"')\]][\"')*]*\s*$")
_TOLD: Final = re.compile(r"\W*(?:\d+\W+)?[A-Z](?=.{20})(?:\S+\s+){3}.*(?<!\.\.)[\w)\"'\]][.!?][\"')*]*\s*$")
_DELIMITERS: Final = (",", ";", "\t")
_GAP: Final = 3
"""Lines of no kind that may stand within a run: what goes on in the next line, or says nothing by itself."""
_UNIFORM: Final = 8
_BANNER: Final = re.compile(r"(?:\x1b\[[\d;]*m)*[=_]{5,} .+ [=_]{5,}(?:\x1b\[[\d;]*m)*\s*$")
_SILENCE: Final = 100
"""Lines between two that look like output, after which the output of a tool is over."""


class Run(NamedTuple):
    """Lines [first, last) of one kind."""

    first: int
    last: int
    kind: Kind


def runs(lines: Sequence[str]) -> Iterator[Run]:
    """Yield the runs of one kind, which cover the lines in order; blank lines belong to the run before them."""
    view = _View(lines, [_kind(line) for line in lines], {})
    at, prose = 0, 0
    while at < len(lines):
        found = _run(view, at)
        if found is None:
            at += 1
            continue
        if prose < at:
            yield Run(prose, at, "prose")
        yield found
        at = prose = found.last
    if prose < len(lines):
        yield Run(prose, len(lines), "prose")


class _View(NamedTuple):
    """The lines, what each looks like, and up to where each reader has looked in vain."""

    lines: Sequence[str]
    kinds: Sequence[str]
    tried: dict[int, int]


_Reader = Callable[[_View, int], tuple[int, bool]]
"""Returns where the run that starts at a line would end, and whether it is one."""


def _kind(line: str) -> str:
    found = _LINE.match(line[:_READ])
    return (found.lastgroup or "prose") if found else "prose"


def _run(view: _View, at: int) -> Run | None:
    """Return the run that starts at a line, if one does."""
    if view.kinds[at] == "blank":
        return None
    for number, (kind, fewest, reader, first) in enumerate(_READERS):
        # Reading the same lines again from each of them would take time by their square.
        if (first and view.kinds[at] not in first) or view.tried.get(number, 0) > at:
            continue
        last, is_one = reader(view, at)
        if is_one and last - at >= fewest:
            while last < len(view.lines) and view.kinds[last] == "blank":
                last += 1
            return Run(at, last, kind)
        view.tried[number] = last
    return None


def _chat(view: _View, at: int) -> tuple[int, bool]:
    """Two or more speakers who speak again, in sentences; other lines continue a turn."""
    names: list[str] = []
    last, sentences = at, 0
    for number in range(at, len(view.lines)):
        turn = _SPEAKER.match(view.lines[number][:_READ])
        if turn:
            names.append(turn["who"])
            last = number + 1
            sentences += bool(_SENTENCE.search(view.lines[number][-_READ:]))
        elif number == at or number - last >= _GAP:
            break
    counts = Counter(names)
    again = sum(count for count in counts.values() if count > 1)
    return last, len(counts) >= 2 and again >= 0.7 * len(names) and sentences >= 0.4 * len(names)


def _trace(view: _View, at: int) -> tuple[int, bool]:
    """Frames, what is indented below them, and the line that names the error."""
    last = at
    for number in range(at, len(view.lines)):
        line = view.lines[number]
        is_within = view.kinds[number] == "trace" or line[:1] in {" ", "\t"}
        if line.strip() and (is_within or (number == last and _TRACE_END.match(line[:_READ]))):
            last = number + 1
        elif line.strip() or number - last >= 2:
            break
    return last, True


def _diff(view: _View, at: int) -> tuple[int, bool]:
    """A header, and lines that begin as those of diffs do."""
    lines, last = view.lines, at
    begins = lines[at].startswith(("diff --git ", "@@ -", "Index: ")) or (
        lines[at].startswith("--- ") and at + 1 < len(lines) and lines[at + 1].startswith("+++ ")
    )
    while begins and last < len(lines) and (_DIFF_LINE.match(lines[last]) or not lines[last].strip()):
        last += 1
        # The next file is a diff of its own.
        if last < len(lines) and lines[last].startswith(("diff --git ", "Index: ")):
            break
    while last > at and not lines[last - 1].strip():
        last -= 1
    return last, True


def _csv(view: _View, at: int) -> tuple[int, bool]:
    """Lines with the same number of separators, two at least, and no sentences."""
    line = view.lines[at]
    for mark in _DELIMITERS if view.kinds[at] not in {"code", "log"} else ():
        fields = 0 if f"{mark} " in line[:_READ] else line.count(mark)
        if fields < 2:
            continue
        last = at
        while last < len(view.lines) and view.lines[last].count(mark) == fields:
            last += 1
        if last - at >= 3:
            return last, True
    return at, False


def _session(view: _View, at: int) -> tuple[int, bool]:
    """The output of a tool under two or more banners, with the code and the values that it shows."""
    last, banners = at, 0
    for number in range(at, len(view.lines) if _BANNER.match(view.lines[at][:_READ]) else at):
        if view.kinds[number] in {"log", "trace"}:
            banners += _BANNER.match(view.lines[number][:_READ]) is not None
            last = number + 1
        elif number - last >= _SILENCE:
            break
    return last, banners >= 2


def _uniform(view: _View, at: int) -> tuple[int, bool]:
    """Many lines in a row that begin or end with the same word as the line before, as those of tools do."""
    last, same = at + 1, 0
    before = view.lines[at].split()
    while last < len(view.lines):
        words = view.lines[last].split()
        alike = bool(words and before) and any(words[end] == before[end] and len(words[end]) > 1 for end in (0, -1))
        same += alike
        if not words or (last - at) - same > max(0.6 * same, 1):
            break
        before, last = words, last + 1
    return last, same >= _UNIFORM and not _is_told(view.lines[at:last])


def _is_told(lines: Sequence[str]) -> bool:
    """Return whether lines are sentences: a list of remarks says something else in each, though all begin alike."""
    return sum(_TOLD.match(line) is not None for line in lines) >= 0.5 * len(lines)


def _code(view: _View, at: int) -> tuple[int, bool]:
    last, _ = _alike("code", joining=True)(view, at)
    filled = [kind for kind in view.kinds[at:last] if kind != "blank"]
    return last, filled.count("code") >= 0.5 * len(filled)


def _table(view: _View, at: int) -> tuple[int, bool]:
    last = at
    while last < len(view.lines) and view.kinds[last] == "table":
        last += 1
    return last, True


def _yaml(view: _View, at: int) -> tuple[int, bool]:
    """Keys in small letters, one of them with keys below it."""
    last, _ = _alike("yaml")(view, at)
    found = view.lines[at:last]
    nested = any(line.rstrip().endswith(":") for line in found) or found[:1] == ["---"]
    plain = sum(line.lstrip()[:1].islower() or line.lstrip()[:1] == "-" for line in found)
    return last, nested and plain >= 0.8 * len(found)


def _alike(kind: str, *, joining: bool = False) -> _Reader:
    """Return a reader of lines of a kind, with a few others among them that continue the line before."""

    def read(view: _View, at: int) -> tuple[int, bool]:
        last = at
        for number in range(at, len(view.lines)):
            if view.kinds[number] == kind:
                last = number + 1
            elif number - last >= _GAP or not _continues(view, number, joining=joining):
                break
        return last, True

    return read


def _continues(view: _View, number: int, *, joining: bool) -> bool:
    kind = view.kinds[number]
    indented = view.lines[number][:1] in {" ", "\t"}
    return kind == "blank" or indented or (joining and kind not in {"prose", "trace", "diff", "table"})


_READERS: Final[tuple[tuple[Kind, int, _Reader, frozenset[str]], ...]] = (
    ("chat", 3, _chat, frozenset()),
    ("trace", 2, _trace, frozenset({"trace"})),
    ("diff", 2, _diff, frozenset({"diff"})),
    ("table", 2, _table, frozenset({"table"})),
    ("csv", 3, _csv, frozenset()),
    ("log", 3, _session, frozenset({"log"})),
    ("log", 3, _alike("log"), frozenset({"log"})),
    ("code", 3, _alike("listing"), frozenset({"listing"})),
    ("code", 3, _code, frozenset({"code"})),
    ("yaml", 4, _yaml, frozenset({"yaml"})),
    ("log", _UNIFORM, _uniform, frozenset()),
)
"""Each kind with the fewest lines a run of it needs, its reader, and what its first line looks like where that is one
thing; the first that fits wins."""
