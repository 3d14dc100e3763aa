"""A text made of stretches of the prompt and marks, which still knows where in the prompt each stretch was."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from reasoning_bank.compression.edits import Edit, Span

_MARK = -1


@dataclass(frozen=True, slots=True)
class Pieces:
    """Stretches of a prompt, in order, with marks between them.

    Attributes:
        text: all pieces joined.
        parts: for each piece its place in the prompt, or -1 for a mark, and its length.
    """

    text: str
    parts: tuple[tuple[int, int], ...]

    @classmethod
    def whole(cls, prompt: str) -> "Pieces":
        """Return the prompt as one piece."""
        return cls(prompt, ((0, len(prompt)),))

    @property
    def spans(self) -> tuple[Span, ...]:
        """The [start, end) offsets into the prompt, neighbours joined."""
        joined: list[Span] = []
        for place, length in self.parts:
            if place == _MARK or not length:
                continue
            if joined and joined[-1][1] == place:
                joined[-1] = (joined[-1][0], place + length)
            else:
                joined.append((place, place + length))
        return tuple(joined)

    def edited(self, edits: Iterable[Edit]) -> "Pieces":
        """Return the text with the edits made (offsets into `text`, sorted and apart)."""
        spans: list[Span] = []
        marks: list[str] = []
        done, pending = 0, ""
        for edit in edits:
            if edit.start > done:
                spans.append((done, edit.start))
                marks.append(pending)
                pending = ""
            pending += edit.text
            done = edit.end
        if done < len(self.text):
            spans.append((done, len(self.text)))
            marks.append(pending)
            pending = ""
        return self.selected(spans, [*marks, pending])

    def located(self, places: Iterable[int]) -> list[int]:
        """Return where in `text` these offsets into the prompt are now; of what is gone, where it was."""
        starts: list[int] = []
        offsets: list[tuple[int, int]] = []
        offset = 0
        for place, length in self.parts:
            if place != _MARK:
                starts.append(place)
                offsets.append((offset, length))
            offset += length
        return [_located(place, starts, offsets, len(self.text)) for place in places]

    def selected(self, spans: Sequence[Span], marks: Sequence[str] = ()) -> "Pieces":
        """Return only the spans (offsets into `text`, sorted and apart).

        Args:
            spans: what stays.
            marks: text to put before each span, and after the last; empty for none anywhere.
        """
        texts: list[str] = []
        parts: list[tuple[int, int]] = []
        for number, (span, slices) in enumerate(zip(spans, self._slices(spans), strict=True)):
            if marks and marks[number]:
                texts.append(marks[number])
                parts.append((_MARK, len(marks[number])))
            texts.append(self.text[slice(*span)])
            parts += slices
        if marks and marks[-1]:
            texts.append(marks[-1])
            parts.append((_MARK, len(marks[-1])))
        return Pieces("".join(texts), tuple(parts))

    def _slices(self, spans: Sequence[Span]) -> Iterator[list[tuple[int, int]]]:
        """Yield, for each span, the parts it is made of; one walk over the parts for all spans."""
        number, offset = 0, 0
        for start, end in spans:
            found: list[tuple[int, int]] = []
            while number < len(self.parts):
                place, length = self.parts[number]
                first, last = max(start, offset), min(end, offset + length)
                if first < last:
                    found.append((place if place == _MARK else place + first - offset, last - first))
                if offset + length > end:
                    break
                number, offset = number + 1, offset + length
            yield found


def _located(place: int, starts: Sequence[int], offsets: Sequence[tuple[int, int]], end: int) -> int:
    at = bisect_right(starts, place) - 1
    if at < 0:
        return 0
    offset, length = offsets[at]
    if place - starts[at] <= length:
        return offset + place - starts[at]
    return offsets[at + 1][0] if at + 1 < len(offsets) else end
