"""One step of a run, whatever wrote it down."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was thought, done and seen; any part may be empty.

    Attributes:
        thought: what the agent said or thought, its own words.
        action: what it did: a command, a tool call, an edit.
        observation: what came back.
        tool: name of the tool, if the action was a call.
        failed: True or False when the source says so (exit code, error flag), else None.
    """

    thought: str = ""
    action: str = ""
    observation: str = ""
    tool: str = ""
    failed: bool | None = None
