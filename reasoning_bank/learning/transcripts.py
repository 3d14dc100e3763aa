"""Steps told as one text: marked transcripts, tagged turns, shell sessions, fenced commands, plain stories."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from reasoning_bank.learning.step import Step

_MARK: Final = re.compile(
    r"^[ \t]*(?:\*\*|#{1,4} )?(?P<mark>thought|think|reasoning|action input|action|command|tool call|observation"
    r"|output|result|final answer|answer|conclusion|user|human|assistant|agent"
    r"|system)[ \t]*\d{0,3}(?:\*\*)?[ \t]*:[ \t]*(?:\*\*)?",
    re.IGNORECASE | re.MULTILINE,
)
_TAG: Final = re.compile(r"<(think|thinking|thought|action|observation|tool_call|answer|reflection)>", re.IGNORECASE)
_SHELL: Final = re.compile(r"^[ \t]*(?:\$|>>>|❯)[ \t]+(?P<command>\S.*)$", re.MULTILINE)
_FENCED_COMMAND: Final = re.compile(
    r"^```(?:bash|sh|shell|console|zsh|powershell|\w*command|tool_code)?[ \t]*\n", re.MULTILINE
)
_ACTION_MARKS: Final = frozenset({"action", "action input", "command", "tool call", "tool_call"})
_SEEN_MARKS: Final = frozenset({"observation", "output", "result"})
_TOLD_MARKS: Final = frozenset({"user", "human", "system"})


def read_text(text: str) -> Iterator[Step]:
    """Yield the steps a text tells of, unjoined; a text without marks is one thought."""
    text = text.strip()
    if tagged := list(_tagged(text)):
        yield from _marked(tagged)
    elif is_marked(text):
        marks = list(_MARK.finditer(text))
        ends = [*(mark.start() for mark in marks[1:]), len(text)]
        yield Step(thought=text[: marks[0].start()].strip())
        yield from _marked(
            (mark["mark"].lower(), text[mark.end() : end]) for mark, end in zip(marks, ends, strict=True)
        )
    elif commands := list(_SHELL.finditer(text)):
        ends = [*(command.start() for command in commands[1:]), len(text)]
        yield Step(thought=text[: commands[0].start()].strip())
        for command, end in zip(commands, ends, strict=True):
            yield Step(action=command["command"].strip(), observation=text[command.end() : end].strip())
    elif "diff --git " in text or text.startswith("--- "):
        yield Step(observation=text)
    else:
        yield Step(thought=text)


def read_reply(text: str) -> Iterator[Step]:
    """Yield the steps of an agent's turn, where a fenced command is what it does and the rest is what it thinks."""
    fence = _FENCED_COMMAND.search(text)
    end = text.find("\n```", fence.end()) if fence else -1
    if fence is None or end < 0 or _TAG.search(text):
        yield from read_text(text)
        return
    thought = re.sub(
        r"^(?:thought|discussion|reasoning)[ \t]*:?[ \t]*\n?", "", text[: fence.start()].strip(), flags=re.IGNORECASE
    )
    yield Step(thought=thought.strip(), action=text[fence.end() : end].strip())


def is_marked(text: str) -> bool:
    """True when a text starts with a mark such as `Thought:`, or has two of them."""
    marks = _MARK.finditer(text)
    first = next(marks, None)
    return first is not None and (first.start() == 0 or next(marks, None) is not None)


def _tagged(text: str) -> Iterator[tuple[str, str]]:
    lowered = text.lower()
    done = 0
    open_forever: set[str] = set()
    for tag in _TAG.finditer(text):
        name = tag[1].lower()
        if tag.start() < done or name in open_forever:
            continue
        end = lowered.find(f"</{name}>", tag.end())
        if end < 0:
            open_forever.add(name)
        else:
            yield name, text[tag.end() : end]
            done = end


def _marked(parts: Iterable[tuple[str, str]]) -> Iterator[Step]:
    for mark, body in parts:
        text = body.strip()
        if mark in _ACTION_MARKS:
            yield Step(action=text)
        elif mark in _SEEN_MARKS:
            yield Step(observation=text)
        elif mark not in _TOLD_MARKS:
            yield Step(thought=text)
