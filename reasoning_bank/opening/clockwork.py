"""Time, ids and chance: the only place they come from."""

import base64
import random
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Clockwork:
    """Time, ids and chance, passed in so that tests can hold them still."""

    now: Callable[[], datetime]
    new_id: Callable[[str], str]
    jitter: Callable[[], float]


def clockwork() -> Clockwork:
    """The real ones: UTC, 80 random bits per id, a seeded-by-the-system jitter."""
    return Clockwork(now=lambda: datetime.now(UTC), new_id=random_id, jitter=random.random)


def random_id(prefix: str) -> str:
    """An unguessable id such as `m_7k2d…`: the prefix and 80 random bits in base 32."""
    return f"{prefix}_{base64.b32encode(secrets.token_bytes(10)).decode().lower()}"
