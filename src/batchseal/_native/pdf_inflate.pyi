from typing_extensions import Buffer

def inflate(data: Buffer, limit: int) -> bytes:
    """Returns what can be decoded of zlib data. Raises MemoryError beyond `limit` bytes."""
