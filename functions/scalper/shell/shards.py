"""A shard is a range of hashes, so that any shard count is one Query each."""

import zlib

MAX_SHARDS = 1_000
_HASHES = 2**32


def in_shard(symbol: str, shard: int, shard_count: int) -> bool:
    """Return whether a symbol belongs to a shard: to the range of hashes that it queries."""
    low, high = _HASHES * shard // shard_count, _HASHES * (shard + 1) // shard_count
    return low <= zlib.crc32(symbol.encode()) < high


def sort_key(symbol: str) -> str:
    """Return the sort key of a symbol's item, which its hash leads."""
    return f"{zlib.crc32(symbol.encode()):08x}#{symbol}"
