"""Values as bytes and back, for caches outside the process. Never pickle: what is read may be anybody's."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, is_dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import TypeAdapter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Codec(Generic[V]):
    """How values of one type are written and read.

    Attributes:
        decode: raises ValueError for bytes that are no such value.
    """

    encode: Callable[[V], bytes]
    decode: Callable[[bytes], V]


def json_codec(kind: Any = None) -> Codec[Any]:
    """Values of a type that pydantic knows, dataclasses among them; without one whatever JSON can say.

    Looking at a type takes milliseconds and may read files: not for an event loop.
    """
    if kind is None:
        return Codec(lambda value: json.dumps(value).encode(), json.loads)
    adapter = TypeAdapter[Any](kind)
    return Codec(adapter.dump_json, adapter.validate_json)


def array_codec() -> "Codec[NDArray[np.float32]]":
    """Arrays of float32: their shape, then their numbers."""

    def encode(value: "NDArray[np.float32]") -> bytes:
        return json.dumps(value.shape).encode() + b"\n" + value.astype("<f4").tobytes()

    def decode(stored: bytes) -> "NDArray[np.float32]":
        import numpy as np  # noqa: PLC0415 -- no command needs it to start

        shape, _, numbers = stored.partition(b"\n")
        return np.frombuffer(numbers, "<f4").reshape(json.loads(shape)).astype(np.float32)

    return Codec(encode, decode)


def digest(key: object) -> str:
    """A key as 64 characters that every process gives it; no text can be read from it.

    Raises:
        TypeError: something in it is no text, number, tuple, set or dataclass of such.
    """
    return sha256(json.dumps(key, default=_plain, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return [type(value).__name__, asdict(value)]
    if isinstance(value, (set, frozenset)):
        return sorted(map(digest, value))  # pyright: ignore[reportUnknownArgumentType]
    if (moment := getattr(value, "isoformat", None)) is not None:
        return moment()
    raise TypeError(f"no key can hold {value!r}: send texts, numbers, tuples, sets or dataclasses of such")
