"""Whether what the database has committed outlives its server."""

from batchseal.errors import ConfigurationError
from batchseal.store.database import Database
from batchseal.store.queries import QUERIES

# Settings of `synchronous_commit` with which a commit does not wait until a standby has the transaction on its disk.
NOT_ON_THE_STANDBY = ("local", "remote_write")


async def durability_remarks(database: Database) -> list[str]:
    """What an operator should know: an operation that was acknowledged can be lost. Empty if none can.

    Raises ConfigurationError if the server only reads.
    """
    async with database.connection() as connection:
        found = await connection.fetchrow(QUERIES["durability"])
    if found["only_reads"]:
        raise ConfigurationError(
            "this server only reads, as a standby does: name the primary, or all hosts with target_session_attrs=read-write"
        )
    remarks, commits = [], found["synchronous_commit"]
    if not found["fsync"] or commits == "off":
        setting = "synchronous_commit is off" if found["fsync"] else "fsync is off"
        remarks.append(f"{setting}: an acknowledged operation can be lost when the server crashes")
    elif found["standby_names"] and commits in NOT_ON_THE_STANDBY:
        remarks.append(
            f"synchronous_commit is {commits}: an acknowledged operation can be lost when a standby takes over; set it to on"
        )
    if found["followers"] and not found["standby_names"]:
        remarks.append(
            f"replication is asynchronous ({found['followers']} followers, and synchronous_standby_names is empty): an"
            " acknowledged operation can be lost when a standby takes over"
        )
    if found["standby_names"] and found["follows"] is False:
        remarks.append("no standby of synchronous_standby_names is connected: commits wait until one is")
    return remarks
