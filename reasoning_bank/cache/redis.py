"""A cache in a Redis that several processes share."""

import hashlib
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from reasoning_bank.cache.changes import Owed, Target, Version
from reasoning_bank.cache.redis_server import RedisServer
from reasoning_bank.cache.store import StoreStatistics

if TYPE_CHECKING:
    from redis.asyncio import Redis

_SPACE_CHARS: Final = 16
_ID_CHARS: Final = _SPACE_CHARS + 1 + 32

# Two keys for each cache, so that the server drops it whole or keeps it whole. In the hash: each entry as 13 digits of
# the millisecond it expires and its value, its tags under "#id", "bytes" of all, and the "clock" of uses. In the
# sorted set: ids by last use. Redis runs a script as one step. What is owed from before comes first.
_SCRIPT: Final = f"""
local entries, uses = KEYS[1], KEYS[2]
local channel, name, operation, owed = ARGV[1], ARGV[2], ARGV[3], cjson.decode(ARGV[4])

local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function remove(id)
  local size = redis.call('HSTRLEN', entries, id)
  redis.call('ZREM', uses, id)
  if size > 0 then
    redis.call('HDEL', entries, id, '#' .. id)
    redis.call('HINCRBY', entries, 'bytes', -size)
  end
end

local function remove_where(prefix, tag)
  for _, id in ipairs(redis.call('ZRANGE', uses, 0, -1)) do
    if id:sub(1, #prefix) == prefix then
      if not tag or (redis.call('HGET', entries, '#' .. id) or ''):find(' ' .. tag .. ' ', 1, true) then remove(id) end
    end
  end
end

local function drop(prefix, slot, tag)
  if prefix == '' then redis.call('UNLINK', entries, uses)
  elseif #prefix == {_ID_CHARS} then remove(prefix)
  else remove_where(prefix, tag) end
  redis.call('PUBLISH', channel, name .. ' ' .. slot)
end

local function put(id, slot, ttl, value, tags, most, most_bytes)
  redis.call('HINCRBY', entries, 'bytes', 0)  -- what a full server refuses comes first: nothing is half done then
  remove(id)
  redis.call('HSET', entries, id, string.format('%013d', now() + ttl) .. value)
  redis.call('HINCRBY', entries, 'bytes', 13 + #value)
  if tags ~= '' then redis.call('HSET', entries, '#' .. id, tags) end
  redis.call('ZADD', uses, redis.call('HINCRBY', entries, 'clock', 1), id)
  local evicted = 0
  while redis.call('ZCARD', uses) > tonumber(most)
      or tonumber(redis.call('HGET', entries, 'bytes')) > tonumber(most_bytes) do
    remove(redis.call('ZRANGE', uses, 0, 0)[1])
    evicted = evicted + 1
  end
  if redis.call('PTTL', entries) < tonumber(ttl) then
    redis.call('PEXPIRE', entries, ttl)
    redis.call('PEXPIRE', uses, ttl)
  end
  redis.call('PUBLISH', channel, name .. ' ' .. slot)
  return {{evicted}}
end

local function get(id)
  local entry = redis.call('HGET', entries, id)
  if not entry then return {{}} end
  local left = tonumber(entry:sub(1, 13)) - now()
  if left <= 0 then
    remove(id)
    return {{0}}
  end
  local clock = redis.pcall('HINCRBY', entries, 'clock', 1)
  if type(clock) == 'number' then redis.pcall('ZADD', uses, clock, id) end
  return {{left, entry:sub(14)}}
end

for _, each in ipairs(owed) do drop(each[1], each[2]) end
if redis.call('EXISTS', entries, uses) == 1 then redis.call('UNLINK', entries, uses) end
if operation == 'get' then return get(ARGV[5])
elseif operation == 'put' then return put(unpack(ARGV, 5))
elseif operation == 'drop' then drop(unpack(ARGV, 5)) end
return {{redis.call('ZCARD', uses), tonumber(redis.call('HGET', entries, 'bytes') or 0)}}
"""


class RedisStore:
    """One named cache in Redis: a `SharedStore` whose entries several processes see.

    No text is in a key, values expire at the server, and the least recently used make room. What one process changes,
    every other finds changed at its next call. A change that does not get through is made up for before this store is
    asked for anything else; until then other processes may still find what was to be dropped.

    Args:
        server: where; several stores share one.
        name: of the cache; processes that use the same share it.
        max_entries: entries kept at most.
        max_bytes: bytes of all values together at most, with 13 of each entry; a larger value is not kept.
    """

    def __init__(self, server: RedisServer, name: str, *, max_entries: int, max_bytes: int) -> None:
        self._server = server
        self._name = name
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        # The braces let a cluster keep both keys in one place.
        self._keys = (f"{{{server.prefix}:{name}}}", f"{{{server.prefix}:{name}}}:uses")
        self._owed = Owed()
        self._script: Callable[..., Awaitable[object]] | None = None
        self._hits = 0
        self._misses = 0
        self._evictions = 0
        self._expirations = 0
        self._failures = 0

    async def get(self, namespace: str, key: str) -> bytes | None:
        """Return the value put under a key, or None when there is none or its time is over."""
        found = await self.look(namespace, key)
        return None if found is None else found[0]

    async def look(self, namespace: str, key: str) -> tuple[bytes, float] | None:
        """Return the value put under a key, and the seconds it has left; or None."""
        answer = await self._ask("get", _id(namespace, key))
        if answer is not None and len(answer) == 2:
            self._hits += 1
            return answer[1], answer[0] / 1000
        self._misses += 1
        self._expirations += bool(answer)
        return None

    async def put(self, namespace: str, key: str, value: bytes, *, ttl_s: float, tags: Collection[str] = ()) -> None:
        """Keep a value for `ttl_s` seconds; `tags` name what `delete_tag` will drop it by."""
        if not self._max_entries or len(value) + 13 > self._max_bytes:
            await self.delete(namespace, key)
            return
        target = Target(namespace, key)
        its_tags = f" {' '.join(map(_digest, tags))} " if tags else ""
        bounds = (str(self._max_entries), str(self._max_bytes))
        milliseconds = str(max(1, round(ttl_s * 1000)))
        answer = await self._ask(
            "put", _id(namespace, key), str(target.slot), milliseconds, value, its_tags, *bounds, change=target
        )
        self._evictions += answer[0] if answer else 0

    async def delete(self, namespace: str, key: str) -> None:
        """Drop one entry."""
        await self._drop(Target(namespace, key))

    async def delete_tag(self, namespace: str, tag: str) -> None:
        """Drop the entries of a namespace that were put with this tag."""
        await self._drop(Target(namespace), tag)

    async def clear(self, namespace: str | None = None) -> None:
        """Drop the entries of one namespace, or all."""
        await self._drop(Target(namespace))

    def version(self, namespace: str, key: str) -> Version | None:
        """Return the version of an entry, which tells a change at most `TRUST_S` after it; None: nobody can tell."""
        versions = self._server.watch(self._name)
        return versions.of(namespace, key) if self._server.trusted() else None

    async def statistics(self) -> StoreStatistics:
        """Return what is held, and the counters of this object; what is over counts until it is asked for."""
        entries, size = await self._ask("look") or (0, 0)
        return StoreStatistics(
            entries=entries,
            bytes=size,
            hits=self._hits,
            misses=self._misses,
            evictions=self._evictions,
            expirations=self._expirations,
            failures=self._failures,
        )

    async def aclose(self) -> None:
        """Nothing to let go of: the connections belong to the server."""

    async def _drop(self, target: Target, tag: str | None = None) -> None:
        tags = () if tag is None else (_digest(tag),)
        await self._ask("drop", _prefix(target), str(target.slot), *tags, change=target)

    async def _ask(self, operation: str, *arguments: str | bytes, change: Target | None = None) -> Sequence[Any] | None:
        """Run the script; what it changes and what it could not change before are owed until it did."""
        told = (self._server.channel, self._name, operation)

        async def run(redis: "Redis") -> Sequence[Any]:
            owed = self._owed.due()
            packed = "[" + ",".join(f'["{_prefix(each)}","{each.slot}"]' for each in owed) + "]"
            script = self._script = self._script or cast("Any", redis.register_script(_SCRIPT))
            said = await script(keys=self._keys, args=(*told, packed, *arguments), client=redis)
            self._owed.paid(owed)
            return cast("Sequence[Any]", said)

        answer = None
        try:
            answer = await self._server.call(run)
        finally:
            if answer is None and change is not None:  # it failed, or its caller left
                self._owed.add(change)
        self._failures += answer is None
        return answer


def _prefix(target: Target) -> str:
    """What the ids of the entries that a target means begin with."""
    if target.namespace is None:
        return ""
    return f"{_digest(target.namespace)[:_SPACE_CHARS]}:" if target.key is None else _id(target.namespace, target.key)


def _id(namespace: str, key: str) -> str:
    return f"{_digest(namespace)[:_SPACE_CHARS]}:{_digest('/'.join((namespace, key)))}"


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
