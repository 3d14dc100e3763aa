"""Runs whose outcome is known and was not reported, for the judge: made up, by hand and from templates.

Those "unseen" were written after the rules: what they are worth on runs nobody had in mind. Formats of tools and one
wording were added to the rules after they had been measured there (at first: precision .95, recall .49).
"""

import json
from pathlib import Path

from reasoning_bank.records import JsonValue, NewTrace, Outcome

Labelled = list[tuple[Outcome, NewTrace]]


def step(action: str, observation: str = "", thought: str = "") -> JsonValue:
    return {"thought": thought, "action": action, "observation": observation}


def _read(*made: str) -> Labelled:
    lines = Path(__file__).with_suffix(".jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["made"] in made]
    return [
        (row["outcome"], NewTrace(f"Task {number}: make the thing work", trajectory=row["trajectory"]))
        for number, row in enumerate(rows)
    ]


RUNS = _read("hand", "template")
UNSEEN = _read("unseen")
