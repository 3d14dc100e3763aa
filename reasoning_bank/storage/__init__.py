"""The truth: one SQLite file, one writer thread, a few readers, and pure functions of a connection."""

from reasoning_bank.storage.database import Database

__all__ = ["Database"]
