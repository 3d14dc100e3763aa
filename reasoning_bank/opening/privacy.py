"""What may come in, and how it is redacted, from the settings and each workspace's own mode."""

from collections.abc import Callable
from functools import lru_cache
from typing import Final, cast

from reasoning_bank.learning.admission import Limits
from reasoning_bank.privacy.own_rules import read_own_rules
from reasoning_bank.privacy.redaction import Mode, Redactor
from reasoning_bank.privacy.rules import RuleSet, rule_set
from reasoning_bank.settings import Settings
from reasoning_bank.storage import workspaces
from reasoning_bank.storage.database import Database

MODES: Final[tuple[Mode, ...]] = ("off", "redact", "block")


def limits_of(settings: Settings) -> Limits:
    """The largest sizes that are taken."""
    limits = settings.limits
    return Limits(limits.task_bytes, limits.memory_bytes, limits.trajectory_bytes, limits.tags)


def redaction_rules(settings: Settings) -> RuleSet | None:
    """The rules of the settings; None: those of the package, which are loaded with the first text. Reads a file.

    Raises:
        ConfigError: the user's file cannot be read, or a rule in it cannot work; names it.
    """
    chosen = settings.privacy
    own = read_own_rules(chosen.rules) if chosen.rules else ()
    return rule_set(chosen.pii, own) if chosen.pii or own else None


def redactor_of(
    settings: Settings, database: Database, salt: bytes, rules: RuleSet | None
) -> Callable[[str], Redactor]:
    """The redactor of a workspace: its own privacy mode where it has one, else the setting."""
    redactors = {mode: Redactor(mode, salt, rules=rules) for mode in MODES}

    @lru_cache(maxsize=1_000)
    def mode(workspace: str, _version: int) -> Mode:
        found = database.read_now(lambda connection: workspaces.find(connection, workspace))
        own = found.privacy_mode if found else None
        return cast("Mode", own or settings.privacy.mode)

    # One call asks several times. Whatever any process commits gives the database another version.
    return lambda workspace: redactors[mode(workspace, database.data_version())]


def outgoing(salt: bytes, rules: RuleSet | None) -> Callable[[str], str]:
    """What every text for a remote model passes: whatever a workspace keeps, no secret leaves the machine."""
    redactor = Redactor("redact", salt, rules=rules)
    return lambda text: redactor.text(text).text
