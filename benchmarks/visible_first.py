"""The first visible signature of a process, for `visible_ratio.py`: a PNG comes from standard input, milliseconds are printed."""

import sys
import time
from datetime import UTC, datetime

import structlog  # noqa: F401 - a worker has loaded it long before
from benchmarks.packagers import credential, fixed
from harness.invoices import invoice

from batchseal.document import Description, Evidence, Refusal
from batchseal.formats.pades.pades import Pades
from batchseal.operation import ContentType
from batchseal.signature import LocationType, SignatureLook, SignaturePlace, VisibleSignature
from batchseal.visible.picture import read


def sealed_ms(original: bytes, wanted: Description) -> float:
    began = time.perf_counter()
    (prepared,) = Pades().prepare([(0, wanted, original)], credential(), datetime.now(UTC))
    if isinstance(prepared, Refusal):
        raise RuntimeError(prepared.cause)
    Pades().package(original, prepared, Evidence(fixed(prepared.digest)), credential())
    return (time.perf_counter() - began) * 1000


def main() -> None:
    picture = read(sys.stdin.buffer.read(), "IMAGE_PNG", "image")
    template = r"Digitally signed by $certificate.getCommonName()\n$date"
    look = SignatureLook(template, 250, 90, background=0xEEF4FF, picture=picture)
    seen = VisibleSignature(SignaturePlace(LocationType.COORDINATE, 1, 140, 35), look)
    original = invoice(1, 1, 184_000)
    sealed_ms(original, Description("bench", "bench.pdf", ContentType.PDF, None, None))
    if "PIL" in sys.modules or "batchseal.formats.appearance.cache" in sys.modules:
        raise RuntimeError("something was drawn already")
    wanted = Description("b", "b.pdf", ContentType.PDF, None, None, visible=True, visible_signature=seen)
    print(sealed_ms(original, wanted))


if __name__ == "__main__":
    main()
