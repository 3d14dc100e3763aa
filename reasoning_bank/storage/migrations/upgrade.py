"""Brings an older bank to the schema of this program: a backup first, then one transaction."""

import contextlib
import logging
import sqlite3
from collections.abc import Callable, Generator
from datetime import datetime
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from filelock import FileLock, Timeout
from sqlalchemy.exc import SQLAlchemyError

from reasoning_bank.errors import MigrationError
from reasoning_bank.storage import backup, version
from reasoning_bank.storage.connections import writing_engine
from reasoning_bank.storage.faults import translated

logger = logging.getLogger(__name__)

_HERE = Path(__file__).parent
# A backup and a migration of a gigabyte take minutes.
_LONGEST_WAIT_S = 600.0


def upgrade(
    path: Path,
    *,
    busy_timeout_s: float,
    now: Callable[[], datetime],
    target: str,
    versions: Path = _HERE / "versions",
) -> Path | None:
    """Migrates a bank to `target`; where its backup is, or None when another process migrated it meanwhile.

    A kill at any moment leaves the old schema or the new one: all steps are one transaction.

    Raises:
        MigrationError: naming the backup; the bank is as it was.
    """
    # Hosts start several servers at once: one backs up and migrates, the others find it done.
    with _alone(path):
        return _upgraded(path, busy_timeout_s, now=now, target=target, versions=versions)


@contextlib.contextmanager
def _alone(path: Path) -> Generator[None]:
    try:
        with FileLock(path.with_name(f"{path.name}.upgrade.lock"), timeout=_LONGEST_WAIT_S, mode=0o600):
            yield
    except Timeout as error:
        raise MigrationError("Another process is bringing the bank up to date; try again", code="locked") from error


def _upgraded(
    path: Path, busy_timeout_s: float, *, now: Callable[[], datetime], target: str, versions: Path
) -> Path | None:
    before = version.revision(path, busy_timeout_s=busy_timeout_s)
    if before == target:
        return None
    copy = backup.create(path, _backup_path(path, before or "none", now()))
    logger.info("Migrating the bank from schema %s to %s; backup: %s", before, target, copy.name)
    engine = writing_engine(path, durability="full", busy_timeout_s=busy_timeout_s)
    try:
        with engine.connect() as connection, connection.begin():
            config = Config(attributes={"connection": connection})
            config.set_main_option("script_location", str(_HERE))
            config.set_main_option("version_locations", str(versions))
            config.set_main_option("path_separator", "newline")
            command.upgrade(config, target)
    except (SQLAlchemyError, CommandError, sqlite3.Error) as error:
        typed = translated(error, path)
        raise MigrationError(
            f"The bank could not be brought from schema {before} to {target}; it is unchanged, and a copy is"
            f" {copy.name!r} beside it ({error})",
            code=typed.code if typed else "io",
        ) from error
    return copy


def _backup_path(path: Path, revision: str, now: datetime) -> Path:
    stem = f"{path.name}.before-{revision}-{now:%Y%m%dT%H%M%S}"
    candidates = (path.with_name(f"{stem}{suffix}.bak") for suffix in ("", *(f"-{n}" for n in range(1, 1000))))
    return next(candidate for candidate in candidates if not candidate.exists())
