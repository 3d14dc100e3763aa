"""Plain downloads from the Hugging Face hub or tiktoken's address, resumed where they were cut off."""

from http import HTTPStatus
from pathlib import Path

import httpx2

from reasoning_bank.assets.catalog import Asset, AssetFile
from reasoning_bank.assets.verified import Order, Progress, Source, place_part
from reasoning_bank.errors import AssetError

# A firewall that drops packets must cost seconds, not minutes: other sources come after this one.
_TIMEOUT = httpx2.Timeout(connect=5.0, read=30.0, write=30.0, pool=5.0)


def web(*, hub_url: str, tiktoken_url: str) -> Source:
    """The publishers' own addresses, or mirrors of them with the same paths."""

    def deliver(order: Order) -> None:
        addresses = {file: _address(order.asset, file, hub_url, tiktoken_url) for file in order.missing}
        with httpx2.Client(timeout=_TIMEOUT, follow_redirects=True) as client:
            for file, url in addresses.items():
                part = _fetch(client, url, file, order)
                place_part(part, file, order)

    return deliver


def _address(asset: Asset, file: AssetFile, hub_url: str, tiktoken_url: str) -> str:
    if asset.hub:
        return f"{hub_url.rstrip('/')}/{asset.hub.repository}/resolve/{asset.hub.revision}/{file.path}"
    if asset.tiktoken_name:
        return f"{tiktoken_url.rstrip('/')}/{asset.tiktoken_name}"
    raise AssetError("no download address is known")


def _fetch(client: httpx2.Client, url: str, file: AssetFile, order: Order) -> Path:
    """Downloads into a part named after the expected hash, which the next attempt continues."""
    order.scratch.mkdir(parents=True, exist_ok=True)
    part = order.scratch / f"{file.sha256}.part"
    have = part.stat().st_size if part.exists() else 0
    if have == file.size:
        return part
    # Ranges count the bytes as stored, so the transfer must not be compressed.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if 0 < have < file.size else {})
    try:
        with client.stream("GET", url, headers=headers) as response:
            start = _start_of(response, have)
            done = _append(response, part, file, start=start, order=order, source=response.url.host)
    except httpx2.HTTPError as error:
        raise AssetError(f"{url}: {str(error) or type(error).__name__}") from error
    if done != file.size:
        raise AssetError(f"{url} ended after {done:,} of {file.size:,} bytes; the next attempt continues there")
    return part


def _start_of(response: httpx2.Response, have: int) -> int:
    """The offset the body begins at; a server without ranges answers 200 and starts over."""
    if response.status_code == HTTPStatus.PARTIAL_CONTENT:
        if response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            return have
        raise AssetError(f"{response.url} answered with another range than asked for")
    if response.status_code == HTTPStatus.OK:
        return 0
    raise AssetError(f"{response.url} answered HTTP {response.status_code}")


def _append(response: httpx2.Response, part: Path, file: AssetFile, *, start: int, order: Order, source: str) -> int:
    done = start
    with part.open("r+b" if start else "wb") as target:
        target.truncate(start)
        target.seek(start)
        # As it arrives: a chunk size would make the client hold back, and lose, what came before a break.
        for block in response.iter_raw():
            done += len(block)
            if done > file.size:
                raise AssetError(f"{response.url} sends more than the expected {file.size:,} bytes")
            target.write(block)
            order.progress(Progress(order.asset.name, source, done, file.size))
    return done
