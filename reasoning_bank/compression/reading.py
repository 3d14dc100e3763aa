"""What a parser of any language says of a source."""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from reasoning_bank.compression.edits import Span

LARGEST_CODE: Final = 400_000
"""Characters of code that is still parsed: a megabyte takes half a minute, and a hundred times its memory."""
KEPT_COMMENT: Final = re.compile(
    r"^(?:#!|\W*(?:type:|noqa|pragma|nolint|eslint|prettier|ts-|@ts-|jshint|istanbul|go:|\+build|export |line )"
    r"|\W*(?:fmt:|ruff|pylint|mypy|pyright|isort|bandit|nosec|spdx|todo|fixme|hack|xxx|-\*-|coding[:=]|shellcheck)"
    r"|\W*(?:safety|warning|important|note|clang-format|cspell|language=|region|endregion)\b)",
    re.IGNORECASE,
)
"""Comments that tools, lawyers or the next reader need."""


class Reading(NamedTuple):
    """What a parser says of a source: its comments, its documentation, and tokens that span lines."""

    comments: Sequence[Span]
    documentation: Sequence[Span]
    solid: Sequence[Span]
