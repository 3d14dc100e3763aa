"""What may come in, and how it is redacted, from the settings and each workspace's own mode."""

from collections.abc import Callable
from typing import Final, cast

from reasoning_bank.learning.admission import Limits
from reasoning_bank.privacy.redaction import Mode, Redactor
from reasoning_bank.settings import Settings
from reasoning_bank.storage import workspaces
from reasoning_bank.storage.database import Database

MODES: Final[tuple[Mode, ...]] = ("off", "redact", "block")


def limits_of(settings: Settings) -> Limits:
    """The largest sizes that are taken."""
    limits = settings.limits
    return Limits(limits.task_bytes, limits.memory_bytes, limits.trajectory_bytes, limits.tags)


def redactor_of(settings: Settings, database: Database, salt: bytes) -> Callable[[str], Redactor]:
    """The redactor of a workspace: its own privacy mode where it has one, else the setting."""
    redactors = {mode: Redactor(mode, salt) for mode in MODES}

    def of(workspace: str) -> Redactor:
        found = database.read_now(lambda connection: workspaces.find(connection, workspace))
        own = found.privacy_mode if found else None
        return redactors[cast("Mode", own or settings.privacy.mode)]

    return of


def outgoing(salt: bytes) -> Callable[[str], str]:
    """What every text for a language model passes: whatever a workspace keeps, no secret leaves the machine."""
    redactor = Redactor("redact", salt)
    return lambda text: redactor.text(text).text
