"""A model that answers from what it is shown, word for word: a script for any trace, for evaluation without a model."""

import json
import re
from collections.abc import AsyncGenerator

from reasoning_bank.learning.distil import task_title
from reasoning_bank.learning.evidence import changed_places, clipped, is_patch
from reasoning_bank.llm.exchange import ModelRequest, Reply, TokenUsage

_RUN = re.compile(r'<run outcome="(?P<outcome>\w+)">\n(?P<told>.*?)\n</run>', re.DOTALL)
_LINE = re.compile(r"^(?:thought|did(?: \(\w+\))?|saw): ", re.MULTILINE)


class ExtractingModel:
    """Writes one lesson per run: what was changed, or what came of it, in the run's own words."""

    def __init__(self) -> None:
        self.asked = 0

    async def complete(self, request: ModelRequest, *, model: str, timeout_s: float) -> Reply:
        self.asked += 1
        answer = {"memories": _lessons(request.messages[-1].text)}
        return Reply(json.dumps(answer, ensure_ascii=False), model, TokenUsage(), "stop")

    async def stream(self, request: ModelRequest, *, model: str, timeout_s: float) -> AsyncGenerator[str | Reply]:
        yield await self.complete(request, model=model, timeout_s=timeout_s)


def _lessons(material: str) -> list[dict[str, object]]:
    task = material.partition("<task>\n")[2].partition("\n</task>")[0]
    told = " ".join(found["told"] for found in _RUN.finditer(material)).strip()
    said = _LINE.sub("", told.partition("\n")[2]).strip()
    if not said:
        return []
    title = task_title(task)
    return [
        {
            "title": title,
            "description": f"When {clipped(title, 200)}; not where this was tried before without success.",
            "content": _content(said),
            "error_context": None,
        }
    ]


def _content(said: str) -> str:
    if is_patch(said):
        places = " Then ".join(" ".join(place.split()) for place in changed_places(said, limit=2))
        return clipped(f"Change {places}", 1_200)
    return clipped(f"Use what it came to: {said}", 1_200)
