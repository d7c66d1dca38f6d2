"""The parts that several processes have."""

from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import UUID

import structlog

from batchseal._native import base64, cpu, digest, scanner
from batchseal.admission.ledger import Ledger
from batchseal.errors import ConfigurationError
from batchseal.formats.interface import Memory
from batchseal.formats.registry import Formats
from batchseal.payloads.interface import Payloads
from batchseal.settings.client_services import ClientServices
from batchseal.settings.load import Settings
from batchseal.settings.sizing import planned
from batchseal.signature import NO_DEFAULTS, Level, SignatureDefaults, VisibleDefaults
from batchseal.store.address import address_of
from batchseal.store.store import Store
from batchseal.system.shared_pool import SharedPool

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from batchseal.admission.admission import Admission, MakeRoom
    from batchseal.document import Description
    from batchseal.formats.pades.placeholder.finder import Finder
    from batchseal.intake.schema import Limits
    from batchseal.signer.preparation import Locate
    from batchseal.signer.work import Reserve


log = structlog.get_logger("app")

# They begin when they are needed.
STORE_THREADS = 16


def use_kernels(settings: Settings) -> None:
    """Chooses the instruction set of the native code. Raises ConfigurationError if it is unknown or this processor lacks it."""
    try:
        cpu.set_default_instruction_set(settings.kernel or None)  # for modules that are loaded when they are needed
        for module in (base64, digest, scanner):
            module.use_kernels(settings.kernel or None)
    except ValueError as problem:
        raise ConfigurationError(f"--kernel: {problem}") from None


def native_pool(settings: Settings) -> SharedPool:
    """The threads for native work. There are as many as cores (two if memory is short), since the work releases the GIL."""
    sizes = planned(settings)
    return SharedPool(sizes.native_threads, spare=settings.spare_threads)


def store_pool(payloads: Payloads, native: SharedPool, settings: Settings) -> SharedPool:
    """The threads that wait for the payload store: others than those for native work where it is behind a network.

    They wait most of the time. If they were the same, a slow store would keep documents from being digested.
    """
    if payloads.place is None:
        return native
    return SharedPool(STORE_THREADS, spare=settings.spare_threads, name="store")


def limits_of(settings: Settings) -> "Limits":
    """The limits of a request."""
    from batchseal.intake.schema import Limits

    same = {name: getattr(settings, name) for name in Limits.__struct_fields__ if name != "max_depth"}
    return Limits(max_depth=settings.max_json_depth, **same)


def formats_of(settings: Settings, memory: Memory) -> Formats:
    """The signature formats, with what the settings allow. Documents that need more memory than usual book it in `memory`."""
    return Formats(has_time_stamps=bool(settings.timestamp_urls), memory=memory)


def finding_places(settings: Settings, reserve: "Reserve") -> "Locate":
    """What finds the places of visible signatures in documents. Its code is loaded with the first such document."""
    finders: list[Finder] = []

    async def located(client: str, wanted: "Description", content: "Buffer") -> "Description":
        if not finders:
            from batchseal.formats.pades.placeholder.finder import Finder

            finders.append(Finder(settings.placeholder_path, reserve))
        return await finders[0].located(client, wanted, content)

    return located


async def connect_store(settings: Settings, payloads: Payloads | None = None, *, everything: bool = True) -> Store:
    """Connects to the database. Without `everything`, see `Store.connect`. `payloads` tells who else reads them."""
    shared = None if payloads is None or payloads.name.startswith("local") else payloads.name
    instance = UUID(settings.instance)
    return await Store.connect(address_of(settings), instance=instance, everything=everything, shared=shared)


async def keep_to_database(settings: Settings, payloads: Payloads) -> None:
    """Has a payload store that instances share refuse to be used where it belongs to another database than ours."""
    if payloads.place is None:
        return
    from batchseal.store.identity import DatabaseIdentity

    # A worker sees the rows of a caller, and these are of nobody's.
    store = await Store.connect(address_of(settings), instance=UUID(settings.instance), pool_size=1)
    try:
        payloads.place.keep_to((await DatabaseIdentity(store.database).state()).database)
    finally:
        await store.close()


def signature_defaults(settings: Settings, services: ClientServices, client_service: str) -> SignatureDefaults:
    """What the configuration says of the signatures of a client service. The higher of two levels holds."""
    service = services.get(client_service)
    own = service.signature if service is not None else NO_DEFAULTS
    visible = VisibleDefaults(
        settings.visible_area,
        settings.visible_template,
        settings.visible_pixels_per_point,
        service.visible if service is not None else None,
    )
    return replace(own, level=max(own.level, Level[settings.signature_level]), visible=visible)


def admission_of(
    settings: Settings,
    services: ClientServices,
    ledger: Ledger,
    payloads: Payloads,
    make_room: "MakeRoom | None" = None,
) -> "Admission":
    """What decides whether there is room, in a worker or in the signer."""
    from batchseal.admission.admission import Admission
    from batchseal.admission.limits import budgets_of

    budgets = budgets_of(settings)
    return Admission(
        *(ledger, budgets, payloads.free_bytes, make_room),
        is_alone=lambda: services.has_one,
        store_bytes=payloads.upload_bytes,
    )
