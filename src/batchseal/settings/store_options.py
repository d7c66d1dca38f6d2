"""The settings about where payloads are stored. `options.py` has the rest, and `payload_stores.py` reads the address."""

from dataclasses import dataclass

from batchseal.settings.database_options import DatabaseOptions
from batchseal.settings.declaration import option


# Only Settings is made. What a base would generate beside its fields costs memory in the health probe of a container.
@dataclass(frozen=True, slots=True, kw_only=True, init=False, repr=False, eq=False, match_args=False)
class StoreOptions(DatabaseOptions):
    """Everything about the payload store, on top of the settings about the database."""

    payload_store: str = option(
        "local",
        "where payloads are stored: local (a folder of --temp-folder, for one instance), shared:/FOLDER (a volume that all "
        "instances mount), or s3://BUCKET/PREFIX?endpoint=https://... (an object store); more after &: region, path_style, "
        "keys, profile, ca, proxy, no_proxy, sse, sse_key",
        group="payload store",
    )
    payload_store_key: str = option(
        "",
        "access key of the object store; empty, and without keys= in --payload-store: the role of the machine",
        group="payload store",
        variable="AWS_ACCESS_KEY_ID",
    )
    payload_store_secret: str = option(
        "",
        "secret key of the object store; better set by an environment variable than by a flag",
        group="payload store",
        variable="AWS_SECRET_ACCESS_KEY",
        secret=True,
    )
    payload_store_token: str = option(
        "",
        "session token that belongs to these keys, if there is one",
        group="payload store",
        variable="AWS_SESSION_TOKEN",
        secret=True,
    )
    payload_store_changed: bool = option(
        False,
        "start although operations lie in another payload store that no instance uses any more: they are neither signed nor "
        "delivered nor purged until an instance has that store again",
        group="payload store",
    )
    payload_orphan_hours: int = option(
        24,
        "hours after which a payload of a shared store that belongs to no operation is marked; longer than any upload takes",
        group="payload store",
    )
    payload_aside_days: int = option(
        7, "days after which a payload that was marked so, and still belongs to none, is deleted", group="payload store"
    )
