"""Which process may open the index: a kernel lock, freed by the kernel when its holder dies, however it dies."""

import os
from pathlib import Path

from filelock import FileLock, Timeout


class Ownership:
    """A claim on the index of one bank.

    The lock file lies beside the directory it guards, so that deleting the directory does not delete the lock. It is
    never removed: a second process would lock a new file of the same name and believe itself alone.
    """

    def __init__(self, path: Path) -> None:
        """Prepare a claim; nothing is touched yet.

        Args:
            path: the lock file; made when missing, in a directory that exists.
        """
        self._path = path
        # Without a kernel lock there is no claim: a marker file would outlive a killed holder. Threads share the
        # claim, because the one that asks for it is a different worker each time.
        self._lock = FileLock(path, mode=0o600, thread_local=False, fallback_to_soft=False)
        self._claimed: tuple[int, int] | None = None

    def claim(self) -> bool:
        """Try to become, or stay, the owner without waiting; False while another process is.

        Raises:
            OSError: the file cannot be made, or its file system knows no locks.
        """
        if self.held():
            return True
        self.release()
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            return False
        self._claimed = _identity(self._path)
        return self.held()

    def held(self) -> bool:
        """True while this process is the owner; False once someone removed the lock file, since another may own now."""
        return self._claimed is not None and self._claimed == _identity(self._path)

    def release(self) -> None:
        """Let another process become the owner; the file stays."""
        self._claimed = None
        self._lock.release(force=True)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - a third of the cost of Path.stat, asked on every write
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
