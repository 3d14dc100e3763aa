"""What may be a secret, and how it stands in its text."""

from dataclasses import dataclass
from typing import Literal

Style = Literal["shape", "quoted", "bare", "spaced"]
"""How a value stands in the text: found by its own shape, in quotes, without quotes, or after a spaced equals sign."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What may be a secret.

    Attributes:
        value: the text that would be redacted.
        style: how it stands in the text.
        following: the character after it, or "".
        preceding: the character before it, or "", where it was found by its own shape.
    """

    value: str
    style: Style = "shape"
    following: str = ""
    preceding: str = ""
