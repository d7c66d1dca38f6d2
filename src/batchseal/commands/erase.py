"""`batchseal erase`: removes the texts of an operation from the database, and leaves an entry in the audit trail."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

from batchseal.audit.chain import make_link
from batchseal.commands.databases import OF_DATABASE, open_store
from batchseal.commands.messages import complain
from batchseal.commands.settings_flags import parse, settings_parser
from batchseal.errors import PayloadUnavailable
from batchseal.settings.load import Settings

DESCRIPTION = """
Remove the texts of the operations with one external reference: their description, and the names, references and
causes of their documents. Their id, reference, counts and dates stay, so that the reference is not used a second
time, and the audit trail gets an entry. With --documents, documents that are still stored are deleted too.

The database is that of --database-url, or that of the service which uses --temp-folder, whether it runs or not.
The command cannot be undone. Backups, and the files of the database until it cleans up, may hold the texts for
longer."""

EXIT_CODES = "Exit code: 0 if the texts are gone, 1 if nothing was changed, 2 for wrong use."

USED = (*OF_DATABASE, "payload_store", "payload_store_key", "payload_store_secret", "payload_store_token")


def run(arguments: Sequence[str]) -> int:
    parser = settings_parser("erase", DESCRIPTION, USED)
    parser.usage = "batchseal erase --reference REF [--client-service ID] [--documents] [--FLAG=VALUE]..."
    parser.epilog = f"{parser.epilog}\n\n{EXIT_CODES}"
    parser.add_argument("--reference", required=True, metavar="REF", help="the external reference of the request")
    parser.add_argument(
        "--client-service", metavar="ID", help="whose request; needed if several client services used the reference"
    )
    parser.add_argument(
        "--documents", action="store_true", help="delete the documents and the result too, if they are still stored"
    )
    settings, options = parse(parser, arguments)
    return asyncio.run(erase(settings, options.reference, options.client_service, with_payloads=options.documents))


async def erase(settings: Settings, reference: str, client_service: str | None, *, with_payloads: bool) -> int:
    """Removes the texts of all operations with this reference, or of none of them. Returns the exit code."""
    # These are imported late, so that --help and wrong flags are answered at once.
    from batchseal.payloads.operation import records_of
    from batchseal.store.erasure import Erasure
    from batchseal.store.trail import AuditTrail

    own_store = settings.payload_store.partition(":")[0]
    async with open_store(settings) as store:
        erasure = Erasure(store.database)
        found = await erasure.find(reference, client_service)
        owners = sorted({operation.client_service for operation in found})
        if not found:
            complain(f"no operation has the external reference {reference!r}")
        elif len(owners) > 1:
            complain(f"--client-service must say whose request is meant: {', '.join(owners)}")
        elif open_ones := [operation.id for operation in found if not operation.finished]:
            complain(f"operation {open_ones[0]} is not finished yet")
        elif stored := [operation.id for operation in found if not operation.payload_purged and not with_payloads]:
            complain(f"the documents of operation {stored[0]} are still stored; --documents deletes them too")
        elif elsewhere := [o for o in found if not o.payload_purged and o.payload_store not in (None, own_store)]:
            complain(
                f"the documents of operation {elsewhere[0].id} are in a payload store of the kind {elsewhere[0].payload_store}:"
                " give --payload-store as the service has it, so that they are deleted now"
            )
        elif waiting := [operation.id for operation in found if operation.entry_waits]:
            complain(f"the audit trail has not told the end of operation {waiting[0]} yet; try again in a moment")
        else:
            ids = [operation.id for operation in found]
            entries = await erasure.erase(ids, with_payloads=with_payloads)
            # The chain is written here, so that it tells of the erasure also where no service runs.
            await AuditTrail(store.database, UUID(int=0)).chain([(entry, b"", b"") for entry in entries], make_link)
            erased = {entry.operation_id for entry in entries}
            # The plans of documents, which hold texts of the request too, may be in further payloads.
            columns = [operation.payloads for operation in found if operation.id in erased]
            await delete_documents(settings, {record.id for one in columns for record in records_of(one)})
            for operation_id in ids:
                if operation_id in erased:
                    print(
                        f"The texts of operation {operation_id} of {owners[0]} are erased; its reference stays taken."
                    )
                else:
                    complain(f"operation {operation_id} was changed meanwhile; its texts are still there")
            return 0 if erased == set(ids) else 1
    return 1


async def delete_documents(settings: Settings, payload_ids: set[UUID]) -> None:
    """Deletes payloads from a store that several instances share: their sweep would let them lie for days.

    An instance sweeps its own folder within minutes.
    """
    from batchseal.payloads.stores import place_of

    if (place := place_of(settings)) is not None:
        try:
            await asyncio.to_thread(place.remove, payload_ids)
        except PayloadUnavailable as problem:
            complain(f"the documents are still stored, and go within days: {problem.cause}")
