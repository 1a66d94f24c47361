"""A shard is a range of hashes of symbols: with any number of shards, each is one Query."""

import zlib

MAX_SHARDS = 1_000
_HASHES = 2**32


def in_shard(symbol: str, shard: int, shard_count: int) -> bool:
    """Return whether a symbol's hash lies in the shard's range."""
    low, high = _HASHES * shard // shard_count, _HASHES * (shard + 1) // shard_count
    return low <= zlib.crc32(symbol.encode()) < high


def sort_key(symbol: str) -> str:
    """Return the sort key of a symbol's item; it begins with the symbol's hash."""
    return f"{zlib.crc32(symbol.encode()):08x}#{symbol}"
