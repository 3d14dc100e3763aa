"""What every group of settings is made of."""

from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict
from pydantic_settings import NoDecode

ENV_PREFIX = "REASONING_BANK_"


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


def split_commas(value: object) -> object:
    """The parts of a comma-separated line; anything else as it is."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"no time zone {name!r}: send an IANA name such as Europe/Berlin") from None
    return name


Directory = Annotated[Path, AfterValidator(_absolute)]
TimeZone = Annotated[str, AfterValidator(_known_zone)]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split_commas)]
"""A list in TOML, a comma-separated line in the environment."""


class Group(BaseModel):
    """One table of settings; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
