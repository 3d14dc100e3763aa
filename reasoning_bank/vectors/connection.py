"""The one place that opens Chroma: a directory of this machine, a server, or Chroma Cloud.

`chromadb` is imported here and only when asked for: it takes a second and 80 MB.
"""

import contextlib
import operator
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from reasoning_bank.errors import StorageError

if TYPE_CHECKING:
    import httpx
    from chromadb.api import ClientAPI
    from chromadb.config import Settings

DEFAULT_TENANT: Final = "default_tenant"
DEFAULT_DATABASE: Final = "default_database"


@dataclass(frozen=True, slots=True)
class Server:
    """A running Chroma server.

    Attributes:
        headers: sent with every request. The server itself checks no token: a proxy in front of it may.
        tenant: must exist on the server, like `database`.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    ssl: bool = False
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    tenant: str = DEFAULT_TENANT
    database: str = DEFAULT_DATABASE


@dataclass(frozen=True, slots=True)
class Cloud:
    """Chroma Cloud; None for tenant or database is what the key belongs to."""

    api_key: str = field(repr=False)
    tenant: str | None = None
    database: str | None = None
    host: str = "api.trychroma.com"
    port: int = 443
    ssl: bool = True


def connect(at: Path | Server | Cloud, *, timeout_s: float) -> "ClientAPI":
    """Open Chroma; blocks for up to seconds.

    Args:
        at: directory of an embedded Chroma (made when missing), or where the server is.
        timeout_s: longest wait for one answer of a server.

    Raises:
        StorageError: "damaged" when the directory cannot be opened, "io" when the server does not answer.
    """
    with chroma_faults(remote=not isinstance(at, Path)):
        match at:
            case Path():
                return _embedded(at)
            case Server():
                return _with_timeout(_served(at), timeout_s)
            case Cloud():
                return _with_timeout(_cloud(at), timeout_s)


def disconnect(client: "ClientAPI") -> None:
    """Close what `connect` opened."""
    # Declared on the class that every client is, not on the interface it is declared as.
    operator.methodcaller("close")(client)
    # Chroma leaves the sockets of a server's client to the garbage collector.
    for session in _sessions(client):
        session.close()


@contextlib.contextmanager
def chroma_faults(*, remote: bool) -> Generator[None]:
    """Turn whatever Chroma raises into a StorageError: "damaged" means rebuild, "io" means try again later.

    Embedded failures are bare strings in one class, and none of them heals by itself. A server that refuses or does
    not answer says nothing about its data; only a lost or broken collection does.
    """
    try:
        yield
    except StorageError:
        raise
    except BaseException as error:
        name = type(error).__name__
        # A panic of the Rust core is a BaseException; so are KeyboardInterrupt and the like, which are not ours.
        if not isinstance(error, Exception) and name != "PanicException":
            raise
        damaged = name in {"InternalError", "NotFoundError", "PanicException"} if remote else True
        said = str(error).partition("\n")[0][:200]
        raise StorageError(f"the vector index failed: {name}: {said}", code="damaged" if damaged else "io") from error


def _embedded(directory: Path) -> "ClientAPI":
    import chromadb  # noqa: PLC0415 - see the head of this file

    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return chromadb.PersistentClient(path=directory, settings=_settings())


def _served(server: Server) -> "ClientAPI":
    import chromadb  # noqa: PLC0415 - see the head of this file

    settings = _settings()
    settings.chroma_server_host, settings.chroma_server_http_port = server.host, server.port
    return chromadb.HttpClient(
        host=server.host,
        port=server.port,
        ssl=server.ssl,
        headers=dict(server.headers),
        settings=settings,
        tenant=server.tenant,
        database=server.database,
    )


def _cloud(cloud: Cloud) -> "ClientAPI":
    import chromadb  # noqa: PLC0415 - see the head of this file

    return chromadb.CloudClient(
        tenant=cloud.tenant,
        database=cloud.database,
        api_key=cloud.api_key,
        settings=_settings(),
        cloud_host=cloud.host,
        cloud_port=cloud.port,
        enable_ssl=cloud.ssl,
    )


def _settings() -> "Settings":
    from chromadb.config import Settings  # noqa: PLC0415 - see the head of this file

    # Chroma would read the .env of whatever project the assistant works in.
    values: dict[str, Any] = {"_env_file": None, "anonymized_telemetry": False}
    return Settings(**values)


def _with_timeout(client: "ClientAPI", timeout_s: float) -> "ClientAPI":
    # Chroma's HTTP sessions wait for ever and have no setting for it: a frozen server would keep our threads.
    for session in _sessions(client):
        session.timeout = timeout_s
    return client


def _sessions(client: "ClientAPI") -> "list[httpx.Client]":
    # It opens one for itself and one to ask whether tenant and database exist; a directory has none.
    servers: list[object] = [getattr(client, "_server", None)]
    servers.append(getattr(getattr(client, "_admin_client", None), "_server", None))
    return [session for server in servers if (session := getattr(server, "_session", None)) is not None]
