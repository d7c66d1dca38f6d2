"""Where the database is: an address, or a file that holds one. An address may name several hosts."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from batchseal.errors import ConfigurationError
from batchseal.settings.load import Settings

# What `target_session_attrs` may ask for (libpq 34.1.2): the service writes.
WRITERS = ("read-write", "primary")


@dataclass(frozen=True, slots=True)
class Address:
    """`file` holds the address if `url` is empty. `pooler` says which kind stands before the database: "transaction", or none."""

    url: str = ""
    file: str = ""
    pooler: str = ""

    def read(self) -> str:
        """The address as it is now. Raises ConfigurationError if the file cannot be read or holds nothing."""
        if not self.file:
            return self.url
        try:
            text = Path(self.file).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as problem:
            raise ConfigurationError(f"{self.file}: the address of the database cannot be read: {problem}") from None
        if not text:
            raise ConfigurationError(f"{self.file} holds no address of a database")
        return text


AnyAddress: TypeAlias = str | Address


def address_of(settings: Settings, *, owner: bool = False) -> Address:
    """The address of the database in the settings, for the role of the service or for the `owner` of the tables."""
    if owner and (settings.database_owner_url or settings.database_owner_url_file):
        return Address(settings.database_owner_url, settings.database_owner_url_file, settings.database_pooler)
    return Address(settings.database_url, settings.database_url_file, settings.database_pooler)


def for_each_host(url: str) -> list[str]:
    """One address for each host that the address names. Raises ConfigurationError if hosts and ports do not match."""
    scheme, _, rest = url.partition("://")
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    user, at, hosts = authority.rpartition("@")
    if hosts:  # urlsplit takes an address of IPv6 in the first place only
        after = rest.removeprefix(authority)
        return [f"{scheme}://{user}{at}{host}{after}" for host in hosts.split(",")]
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    names, ports = query.get("host", "").split(","), query.get("port", "").split(",")
    if len(names) == 1:
        return [url]
    if len(ports) == 1:
        ports *= len(names)
    if len(ports) != len(names):
        raise ConfigurationError(f"the address of the database names {len(names)} hosts and {len(ports)} ports")
    each = (query | {"host": name, "port": port} for name, port in zip(names, ports, strict=True))
    return [
        urlunsplit(parts._replace(query=urlencode({name: text for name, text in one.items() if text}))) for one in each
    ]


def wanted_server(url: str) -> str | None:
    """The `target_session_attrs` of the address; where it names several hosts and says nothing, the one that can be written to.

    Raises ConfigurationError for a server that the service cannot write to.
    """
    each = for_each_host(url)
    asked = dict(parse_qsl(urlsplit(each[0]).query)).get("target_session_attrs")
    if asked is None:
        return WRITERS[0] if len(each) > 1 else None
    if asked not in (*WRITERS, "any"):
        raise ConfigurationError(
            f"target_session_attrs={asked} asks for a server that only reads: the service needs {WRITERS[0]}"
        )
    return asked
