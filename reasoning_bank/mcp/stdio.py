"""The server on stdin and stdout.

Stdout belongs to the protocol: both descriptors are taken away from everyone else before anything is imported that
might print, so that a `print` anywhere, in a library or a child process, goes to stderr.
"""

import contextlib
import functools
import gc
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from reasoning_bank.mcp.stopping import DRAIN_S, exit_now, exit_within

if TYPE_CHECKING:
    from mcp.server import MCPServer

    from reasoning_bank.settings import Settings

CHUNK_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Wire:
    """The two descriptors that carry the protocol."""

    read_fd: int
    write_fd: int

    def read(self) -> bytes:
        """Returns the next bytes; none at the end of input."""
        try:
            return os.read(self.read_fd, CHUNK_BYTES)
        except OSError:  # the other end was torn down: the same as its end
            return b""

    def write(self, data: bytes) -> None:
        """Writes all of `data`; blocks while the client does not read."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self.write_fd, rest) :]


def serve_stdio(
    settings: "Settings",
    *,
    make_server: "Callable[[Settings], MCPServer[Any]] | None" = None,
    drain_s: float = DRAIN_S,
) -> NoReturn:
    """Serves MCP on stdin and stdout until the input ends or the process is asked to stop, then exits with 0.

    Args:
        settings: whose server, and how long a message may be.
        make_server: builds the server, after stdout is out of everyone's reach; None builds the configured one.
        drain_s: longest time between being asked to stop and being gone.
    """
    code = 1
    try:
        wire = claim_standard_streams()
        with contextlib.redirect_stdout(sys.stderr):
            _serve(settings, wire, make_server, drain_s)
        code = 0
    finally:
        if code:
            traceback.print_exc()
        exit_now(code)


def _serve(
    settings: "Settings", wire: Wire, make_server: "Callable[[Settings], MCPServer[Any]] | None", drain_s: float
) -> None:
    # Importing makes objects that stay: collecting garbage meanwhile finds none and takes a tenth of the start.
    gc.disable()
    import anyio  # noqa: PLC0415 -- stdout is claimed before anything is imported that might print

    from reasoning_bank.mcp.connection import serve  # noqa: PLC0415
    from reasoning_bank.mcp.logs import log_to_stderr  # noqa: PLC0415
    from reasoning_bank.mcp.server import create_server  # noqa: PLC0415

    log_to_stderr(settings)
    server = (make_server or create_server)(settings)
    gc.freeze()
    gc.enable()
    limit = settings.limits.message_bytes
    anyio.run(functools.partial(serve, server, wire, limit=limit, drain_s=drain_s, stopping=exit_within))


def claim_standard_streams() -> Wire:
    """Returns private copies of stdin and stdout; from now on fd 0 is empty and fd 1 is stderr, for children too."""
    wire = Wire(_private_copy(0), _private_copy(1))
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    os.dup2(2, 1)
    if sys.platform == "win32":
        import msvcrt  # noqa: PLC0415 -- exists on Windows only

        for descriptor in (wire.read_fd, wire.write_fd):
            msvcrt.setmode(descriptor, os.O_BINARY)
    return wire


def _private_copy(descriptor: int) -> int:
    """Returns a copy that children do not inherit and that is not itself one of the three standard descriptors."""
    low: list[int] = []
    copy = os.dup(descriptor)
    while copy <= 2:
        low.append(copy)
        copy = os.dup(descriptor)
    for taken in low:
        os.close(taken)
    return copy
