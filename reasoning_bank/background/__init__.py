"""Work that was promised when a trace was stored, done by whichever process is free."""

from reasoning_bank.background.worker import Handler, OutboxWorker

__all__ = ["Handler", "OutboxWorker"]
