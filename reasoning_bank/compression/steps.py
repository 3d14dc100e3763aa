"""What makes a prompt shorter without cutting it: the steps in their order, each kept where it saves tokens."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from reasoning_bank.compression import blanks, code, logs, repeats, structured
from reasoning_bank.compression.edits import Edit, Kind, Segment, Span, Step, apply, joined, moved, rebase
from reasoning_bank.compression.segments import segments as segments_of

_ROUNDS: Final = 8
"""Most rounds until nothing changes: a step can make room for another, as a comment that leaves an empty line."""
REFERENCES: Final = "repeated_blocks"
"""The step that says of a block that it stands above: what it points at has to stay."""
_RULES: Final = frozenset({"json_table", "duplicate_lines", REFERENCES, "log_templates", "library_frames"})
"""Steps whose result a reader needs a rule for."""
_TEXT: Final[frozenset[Kind]] = frozenset({"prose", "chat", "memories", "instruction", "log", "trace"})
_LINES: Final[frozenset[Kind]] = frozenset({"log", "trace"})


Settled = set[tuple[object, ...]]
"""Steps with what they read, and the hashes of stretches in which they found nothing to do."""


@dataclass(frozen=True, slots=True)
class _Prompt:
    """A prompt between two rounds."""

    text: str
    segments: Sequence[Segment]
    protected: Sequence[Span]
    count: Callable[[str], int] = field(repr=False)
    settled: Settled = field(repr=False)

    def edits(self, segment: Segment, make: Callable[..., list[Edit]], *arguments: object) -> list[Edit]:
        """Return the edits in the body of a segment; a stretch without any is not looked at again.

        Only its hash is kept: a prompt may have megabytes.
        """
        stretch = self.stretch(segment)
        key = make, *arguments, hash(stretch)
        found = [] if key in self.settled else make(stretch, *arguments)
        if not found:
            self.settled.add(key)
        return _shifted(found, segment.body[0])

    def stretch(self, segment: Segment) -> str:
        return self.text[slice(*segment.body)]

    def keeping(self, segment: Segment) -> tuple[Span, ...]:
        """Return the protected spans by their offsets into the body of a segment."""
        start, end = segment.body
        return tuple((first - start, last - start) for first, last in self.protected if first < end and start < last)

    def saves(self, edits: Sequence[Edit], span: Span, *, shorter: bool) -> bool:
        """Return whether edits within a span make it fewer tokens, or as many for fewer characters."""
        before = self.text[slice(*span)]
        after = apply(before, (Edit(edit.start - span[0], edit.end - span[0], edit.text) for edit in edits))
        saved = self.count(before) - self.count(after)
        return saved > 0 or (shorter and saved == 0 and len(after) < len(before))


class _Proposal(NamedTuple):
    """Edits within a span, to be made where they save tokens there; all or none of them where they are one."""

    span: Span
    edits: Sequence[Edit]
    is_one: bool


_Maker = Callable[[_Prompt], Iterable[_Proposal]]


class _Named(NamedTuple):
    name: str
    make: _Maker


def lossless_steps(
    text: str,
    segments: Sequence[Segment],
    protected: Sequence[Span] = (),
    *,
    count: Callable[[str], int],
    preserve_json: bool = True,
    docstrings: bool = False,
    settled: Settled | None = None,
) -> list[Step]:
    """Return the steps that make a text fewer tokens and lose nothing, by offsets into the text, apart from each other.

    JSON stays equal by value, code keeps its syntax tree, and what is put in the place of repetition says what it
    stands for. Made on the result, the steps find nothing more to do.

    Args:
        text: the prompt.
        segments: its segments.
        protected: spans that stay as they are, sorted and apart.
        count: how many tokens a text takes.
        preserve_json: JSON keeps its shape, since something may parse it; False lets tables say their keys once.
        docstrings: documentation in code goes too.
        settled: handed from call to call for one prompt, it saves looking at the same stretches again.
    """
    form = [
        *([] if preserve_json else [_Named("json_table", _json_tables)]),
        _Named("json_minify", _each(frozenset({"json"}), structured.minified)),
        _Named("comments", _each_code(code.without_comments)),
        *([_Named("docstrings", _each_code(code.without_documentation))] if docstrings else []),
        _Named("code_blank_lines", _each_code(code.without_blank_lines)),
        _Named("table_padding", _each(frozenset({"table"}), structured.unpadded)),
        _Named("csv_quotes", _each(frozenset({"csv"}), structured.unquoted, is_one=True)),
        _Named("trailing_blanks", _each(_TEXT, blanks.at_line_ends)),
        _Named("blank_lines", _each(_TEXT, blanks.empty_lines)),
        _Named("duplicate_lines", _each(_LINES, logs.counted)),
    ]
    # References quote what stands above: they come when it no longer changes.
    again = [_Named(REFERENCES, _references(preserve_json=preserve_json))]
    known = Settled() if settled is None else settled
    return _settled(_Prompt(text, segments, protected, count, known), [form, again], is_lossless=True)


def lossy_steps(
    text: str,
    segments: Sequence[Segment],
    protected: Sequence[Span] = (),
    *,
    count: Callable[[str], int],
    question: str = "",
) -> list[Step]:
    """Return the steps that lose what is rarely asked for: colours, what differs among like log lines, library frames.

    Lines that tell of errors stay, and those that have to do with the question; see `lossless_steps` for the arguments.
    """
    logged = (text[slice(*segment.body)] for segment in segments if segment.kind in _LINES)
    asked = logs.asked_for(logged, question)
    steps = [
        _Named("terminal_colours", _each(_TEXT, logs.uncoloured)),
        _Named("library_frames", _each(_LINES, logs.without_library_frames)),
        _Named("log_templates", _templates(asked)),
    ]
    return _settled(_Prompt(text, segments, protected, count, set()), [steps], is_lossless=False)


def _settled(prompt: _Prompt, phases: Sequence[Sequence[_Named]], *, is_lossless: bool) -> list[Step]:
    """Return the steps of all rounds, by offsets into the prompt of the first."""
    made: list[tuple[Edit, str]] = []
    tokens = -1
    for _ in range(_ROUNDS):
        new = next(filter(None, (_round(prompt, phase) for phase in phases)), None)
        if not new:
            break
        edits = [edit for edit, _ in new]
        after = apply(prompt.text, edits)
        tokens = prompt.count(prompt.text) if tokens < 0 else tokens
        left = prompt.count(after)
        if (left, len(after)) >= (tokens, len(prompt.text)):
            break
        tokens = left
        made = _composed(made, new)
        prompt = _Prompt(after, segments_of(after), moved(prompt.protected, edits), prompt.count, prompt.settled)
    names = dict.fromkeys(name for phase in phases for name, _ in phase)
    steps = ((name, tuple(edit for edit, made_by in made if made_by == name)) for name in names)
    return [Step(name, edits, is_lossless, name in _RULES) for name, edits in steps if edits]


def _round(prompt: _Prompt, steps: Sequence[_Named]) -> list[tuple[Edit, str]]:
    """Return the edits that the steps find, with their names; what an earlier step changes, a later one leaves."""
    found: list[tuple[Edit, str]] = []
    taken, starts = list(prompt.protected), [start for start, _ in prompt.protected]
    for name, make in steps:
        before = len(found)
        for span, edits, is_one in make(prompt):
            free = [edit for edit in edits if not _touches(edit, taken, starts)]
            whole = len(free) == len(edits) or not is_one
            if free and whole and prompt.saves(free, span, shorter=name not in _RULES):
                found += ((edit, name) for edit in free)
        if len(found) > before:
            taken = joined([*prompt.protected, *((edit.start, edit.end) for edit, _ in found)])
            starts = [start for start, _ in taken]
    return sorted(found)


def _touches(edit: Edit, spans: Sequence[Span], starts: Sequence[int]) -> bool:
    at = bisect_left(starts, edit.end)
    return at > 0 and spans[at - 1][1] > edit.start


def _composed(made: Sequence[tuple[Edit, str]], new: Sequence[tuple[Edit, str]]) -> list[tuple[Edit, str]]:
    """Return the edits of both, by offsets into the prompt that `made` is for."""
    if not made:
        return list(new)
    rebased = rebase([edit for edit, _ in made], [edit for edit, _ in new])
    gone = {number for each in rebased for number in each.replaced}
    stay = (entry for number, entry in enumerate(made) if number not in gone)
    return sorted([*stay, *((each.edit, new[each.number][1]) for each in rebased)])


def _shifted(edits: Sequence[Edit], by: int) -> list[Edit]:
    return [Edit(edit.start + by, edit.end + by, edit.text) for edit in edits]


def _each(kinds: frozenset[Kind], make: Callable[[str], list[Edit]], *, is_one: bool = False) -> _Maker:
    """Return a maker that goes through the segments of some kinds."""

    def proposals(prompt: _Prompt) -> Iterator[_Proposal]:
        for segment in prompt.segments:
            if segment.kind in kinds:
                yield _Proposal(segment.body, prompt.edits(segment, make), is_one)

    return proposals


def _each_code(make: Callable[[str, str, Sequence[Span]], list[Edit]]) -> _Maker:
    def proposals(prompt: _Prompt) -> Iterator[_Proposal]:
        for segment in prompt.segments:
            language = "yaml" if segment.kind == "yaml" else segment.language
            if not language or segment.kind not in {"code", "yaml"}:
                continue
            edits = prompt.edits(segment, make, language, prompt.keeping(segment))
            yield _Proposal(segment.body, edits, is_one=True)

    return proposals


def _json_tables(prompt: _Prompt) -> Iterator[_Proposal]:
    for segment in prompt.segments:
        if segment.kind == "json":
            for table in structured.tabled(prompt.stretch(segment)):
                edits = _shifted(table, segment.body[0])
                yield _Proposal((edits[0].start, edits[-1].end), edits, is_one=True)


def _templates(asked: frozenset[str]) -> _Maker:
    def proposals(prompt: _Prompt) -> Iterator[_Proposal]:
        for segment in prompt.segments:
            if segment.kind in _LINES:
                for edits in logs.folded(prompt.stretch(segment), asked=asked):
                    yield _Proposal(segment.body, _shifted(edits, segment.body[0]), is_one=True)

    return proposals


def _references(*, preserve_json: bool) -> _Maker:
    def proposals(prompt: _Prompt) -> Iterator[_Proposal]:
        for edit in repeats.references(prompt.text, prompt.segments, preserve_json=preserve_json):
            yield _Proposal((edit.start, edit.end), [edit], is_one=True)

    return proposals
