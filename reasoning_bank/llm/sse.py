"""Server-sent events out of bytes, however they were cut (WHATWG HTML, 9.2.6)."""

import codecs
from collections.abc import AsyncIterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its name, "message" where it has none, and its data."""

    name: str
    data: str


async def events(chunks: AsyncIterator[bytes]) -> AsyncIterator[Event]:
    """Yields each event that has data; one that the stream's end cut off is not an event."""
    name, data = "", list[str]()
    async for line in _lines(chunks):
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if line == "":
            if data:
                yield Event(name or "message", "\n".join(data))
            name, data = "", []
        elif field == "data":
            data.append(value)
        elif field == "event":
            name = value


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """Lines end with LF, CR LF or CR; a character or a line end may lie in two chunks."""
    decode = codecs.getincrementaldecoder("utf-8-sig")("replace").decode
    rest = ""
    async for chunk in chunks:
        text = rest + decode(chunk)
        # A CR at the end may be half of a CR LF.
        held = "\r" if text.endswith("\r") else ""
        *lines, rest = text.removesuffix(held).replace("\r\n", "\n").replace("\r", "\n").split("\n")
        rest += held
        for line in lines:
            yield line
    if rest.endswith("\r"):
        yield rest.removesuffix("\r")
