"""A real Redis of one's own: on a free port, with its files in a directory of the test, killed in the end."""

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

PROGRAM = shutil.which("redis-server") or shutil.which("valkey-server")


class OwnRedis:
    """A server that can be killed, frozen and started again on the same port."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.port = _free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._directory = directory
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        assert PROGRAM is not None
        command = [PROGRAM, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        command += ["--dir", str(self._directory), "--loglevel", "warning", *self._options]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 30
        while not self.ask("PING") and time.monotonic() < end:
            time.sleep(0.02)

    def kill(self) -> None:
        """kill -9; nothing is left of what it held."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """SIGSTOP: connections stay, answers do not come."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def ask(self, *words: str) -> bytes:
        """First line that it answers to a command; nothing where it is not there."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                connection.sendall(f"{' '.join(words)}\r\n".encode())
                return connection.makefile("rb").readline().strip()
        except OSError:
            return b""


@contextmanager
def own_redis(directory: Path, *options: str) -> Generator[OwnRedis]:
    """A running server; a test is skipped where the program is not installed."""
    if PROGRAM is None:
        pytest.skip("redis-server is not installed")
    pytest.importorskip("redis", reason="redis is not installed: pip install 'reasoning-bank[redis]'")
    server = OwnRedis(directory, *options)
    server.start()
    try:
        yield server
    finally:
        server.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
