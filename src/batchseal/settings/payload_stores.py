"""What `--payload-store` says: which store payloads are kept in, and how it is reached. Nothing here reaches anything."""

from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from batchseal.errors import ConfigurationError

LOCAL, S3, SHARED = "local", "s3", "shared"
# What stands behind the question mark of an address of an object store.
PARAMETERS = {
    "endpoint": "address of the store, such as https://store.example:9000; without it: that of AWS for the region",
    "region": "the region that requests are signed for (default: us-east-1)",
    "path_style": "true or false: whether the bucket stands in the path of the address and not in its host name "
    "(default: true with an endpoint)",
    "keys": "file with the keys, in the form of ~/.aws/credentials; it is read again when it changes",
    "profile": "the part of that file (default: default)",
    "ca": "PEM file with certificate authorities that are trusted beside those of the system",
    "proxy": "address of the HTTP proxy; without it none is used",
    "no_proxy": "hosts that are reached without that proxy, separated by commas",
    "sse": "server-side encryption that each upload asks for: AES256 or aws:kms",
    "sse_key": "the id of the key for aws:kms",
}
ENCRYPTIONS = ("", "AES256", "aws:kms", "aws:kms:dsse")


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectAddress:
    """A prefix of a bucket in an object store. `prefix` has no slash at its ends."""

    bucket: str
    prefix: str
    endpoint: str = ""
    region: str = "us-east-1"
    path_style: bool = True
    keys: str = ""
    profile: str = "default"
    ca: str = ""
    proxy: str = ""
    no_proxy: str = ""
    sse: str = ""
    sse_key: str = ""

    @property
    def url(self) -> str:
        """The address that requests of the bucket begin with, without a slash at its end."""
        if not self.endpoint:
            host = f"s3.{self.region}.amazonaws.com"
            return f"https://{host}/{self.bucket}" if self.path_style else f"https://{self.bucket}.{host}"
        if self.path_style:
            return f"{self.endpoint}/{self.bucket}"
        scheme, _, host = self.endpoint.partition("://")
        return f"{scheme}://{self.bucket}.{host}"

    @property
    def said(self) -> str:
        """The store in words for people."""
        return f"bucket {self.bucket} at {self.endpoint or 'AWS'}"


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """`kind` is LOCAL, S3 or SHARED. `folder` is that of SHARED, `objects` the place of S3."""

    kind: str
    folder: Path = field(default_factory=Path)
    objects: ObjectAddress | None = None

    @property
    def serves_many(self) -> bool:
        """Whether any instance that has this store can read what another one has stored in it."""
        return self.kind != LOCAL


def parse_store(text: str) -> StoreAddress:
    """Reads the value of `--payload-store`. Raises ConfigurationError."""
    if text == LOCAL:
        return StoreAddress(LOCAL)
    if text.startswith("shared:"):
        folder = Path(text.removeprefix("shared:"))
        if not folder.is_absolute():
            raise _wrong(f"{text!r} must name an absolute folder, such as shared:/mnt/batchseal")
        return StoreAddress(SHARED, folder=folder)
    if text.startswith("s3://"):
        return StoreAddress(S3, objects=_object_address(text))
    raise _wrong(f"{text!r} is none of local, s3://BUCKET/PREFIX?endpoint=..., shared:/FOLDER")


def _object_address(text: str) -> ObjectAddress:
    parts = urlsplit(text)
    if not parts.netloc or "@" in parts.netloc:
        raise _wrong("s3:// must be followed by the name of a bucket; keys belong into a file or the environment")
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := sorted(given.keys() - PARAMETERS.keys()):
        raise _wrong(f"there is no {', '.join(unknown)}; known are {', '.join(PARAMETERS)}")
    endpoint = given.pop("endpoint", "").rstrip("/")
    if endpoint and not endpoint.startswith(("http://", "https://")):
        raise _wrong(f"endpoint={endpoint} must begin with https:// or http://")
    style = given.pop("path_style", "")
    if style not in ("", "true", "false"):
        raise _wrong(f"path_style={style} is neither true nor false")
    if given.get("sse", "") not in ENCRYPTIONS:
        raise _wrong(f"sse={given['sse']} is none of {', '.join(ENCRYPTIONS[1:])}")
    return ObjectAddress(
        bucket=parts.netloc,
        prefix=parts.path.strip("/"),
        endpoint=endpoint,
        path_style=style != "false" if style else bool(endpoint),
        **given,
    )


def is_private(host: str) -> bool:
    """Whether a host plainly stands in a private network: by its address, or by a name that only exists inside."""
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        inside = (".local", ".internal", ".lan", ".home.arpa", ".svc", ".localhost")
        return "." not in host or host.endswith(inside)
    return address.is_private or address.is_loopback or address.is_link_local


def _wrong(what: str) -> ConfigurationError:
    return ConfigurationError(f"--payload-store: {what}")
