"""What every client of a remote API knows: where it may send, what a server means, what may be repeated of it."""

import ipaddress
import json
import math
import re
import socket
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final, cast
from urllib.parse import urlsplit

from reasoning_bank.errors import ConfigError

_ABSURD_S: Final = 86_400.0
_REASON_CHARACTERS: Final = 300
_KEYS: Final = re.compile(r"\b(?:sk|pk|key|api|gsk|xai)[-_](?=[\w.-]*[\d*])[\w*.-]{6,}|(?<=[Bb]earer )\S+")


def checked_url(url: str, *, key: str | None, settings: str) -> str:
    """Returns an API's root that requests, and the key, may be sent to.

    Args:
        url: the root.
        key: what is sent there as a secret.
        settings: table of the settings that hold both, for the error.

    Raises:
        ConfigError: no http(s) address, one with a password in it, an address of the machine's cloud (169.254.169.254),
            a key on an unencrypted way over a network, or a key that cannot stand in a header.
    """
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise ConfigError(f"{settings}.base_url holds a user or password: send the key as {settings}.api_key")
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ConfigError(f"{settings}.base_url: send the API's root, such as https://api.openai.com/v1")
    address = _address(parts.hostname)
    if address is not None and (address.is_link_local or address.is_multicast or address.is_unspecified):
        raise ConfigError(f"{settings}.base_url {url!r}: no model server has such an address")
    near = parts.hostname == "localhost" or (address is not None and address.is_loopback)
    if key and parts.scheme == "http" and not near:
        raise ConfigError(f"{settings}.base_url {url!r}: a key is sent over https only, or to this machine")
    if key is not None and not (key and key.isascii() and key.isprintable() and " " not in key):
        raise ConfigError(f"{settings}.api_key: a key has no blanks, line ends or letters beyond ASCII")
    return url


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        # What the system's resolver takes for an address too: 2852039166, 0xa9fea9fe, 169.254.43518.
        address = ipaddress.ip_address(host if ":" in host else socket.inet_aton(host))
    except (OSError, ValueError):
        return None
    return (address.version == 6 and address.ipv4_mapped) or address


def retry_after_s(headers: Mapping[str, str], *, wall: float) -> float | None:
    """Returns the seconds a server asks to wait (RFC 9110, 10.2.3, or milliseconds as OpenAI sends them).

    None where it does not ask, or asks what cannot be meant: text, a date that has passed, more than a day.

    Args:
        headers: of its answer; names in lower case, or a mapping that does not mind.
        wall: now, in seconds since 1970.
    """
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        seconds = _seconds(headers.get(name, ""), unit_s, wall)
        if seconds is not None and 0 <= seconds <= _ABSURD_S:
            return seconds
    return None


def _seconds(text: str, unit_s: float, wall: float) -> float | None:
    try:
        seconds = float(text) * unit_s
    except ValueError:
        pass
    else:
        return seconds if math.isfinite(seconds) else None
    try:
        return parsedate_to_datetime(text).timestamp() - wall
    except (ValueError, OverflowError):
        return None


def reason_of(body: bytes, *, key: str | None) -> str:
    """Returns the short reason in an error's body, on one line, without the key or anything that looks like one."""
    text = body.decode("utf-8", "replace")
    try:
        text = _words(json.loads(text)) or text
    except (ValueError, RecursionError):
        text = re.sub(r"<[^>]*>", " ", text)
    return presentable(text, key=key)


def presentable(text: str, *, key: str | None) -> str:
    """Returns a server's words, short and on one line, without the key or anything that looks like one."""
    if key:
        text = text.replace(key, "[key]")
    text = " ".join(_KEYS.sub("[key]", text).split())
    return text if len(text) <= _REASON_CHARACTERS else f"{text[:_REASON_CHARACTERS]}…"


def _words(payload: object) -> str | None:
    """The words of an error in OpenAI's, Anthropic's, Ollama's or FastAPI's format."""
    if not isinstance(payload, dict):
        return None
    fields = cast("dict[str, object]", payload)
    for name in ("error", "message", "detail"):
        found = fields.get(name)
        if isinstance(found, str):
            return found
        if isinstance(found, dict):
            return _words(cast("object", found))
    return None
