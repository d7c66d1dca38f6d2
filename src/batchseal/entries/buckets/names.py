"""The names of prefixes, `s3://BUCKET/PREFIX`, as the configuration of a client service has them."""

import re
from dataclasses import dataclass

from batchseal.errors import ConfigurationError

SCHEME = "s3://"
BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}")
CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class PrefixName:
    """A prefix, without a slash at its ends. An empty one stands for the whole bucket."""

    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.prefix}".rstrip("/")

    def overlaps(self, other: "PrefixName") -> bool:
        """Whether one of them is, or lies in, the other."""
        if self.bucket != other.bucket:
            return False
        mine, others = f"{self.prefix}/".lstrip("/"), f"{other.prefix}/".lstrip("/")
        return mine.startswith(others) or others.startswith(mine)


def is_prefix(text: str) -> bool:
    """Whether this names a prefix, and no folder."""
    return text.startswith(SCHEME)


def parse(text: str) -> PrefixName:
    """Raises ConfigurationError."""
    bucket, _, prefix = text.removeprefix(SCHEME).partition("/")
    if "?" in text:
        raise ConfigurationError(
            f"{text}: the address and the keys are those of --payload-store, so nothing follows a ?"
        )
    if BUCKET.fullmatch(bucket) is None:
        raise ConfigurationError(f"{text}: {SCHEME} must be followed by the name of a bucket")
    prefix = prefix.strip("/")
    if prefix and (CONTROL.search(prefix) or {"", ".", ".."} & set(prefix.split("/"))):
        raise ConfigurationError(f"{text}: a prefix has names between its slashes, and none of them is . or ..")
    return PrefixName(bucket, prefix)
