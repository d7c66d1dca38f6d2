"""The multipart reader under atheris: any body in any pieces ends with documents or an ApiError, and never differently."""

import logging
import sys

import atheris

# The parser has a warning for each body that is not one.
logging.disable(logging.CRITICAL)

with atheris.instrument_imports(include=["batchseal.intake", "python_multipart"]):
    from batchseal.errors import ApiError
    from batchseal.intake.multipart import MultipartIntake
    from batchseal.intake.schema import Limits

LIMITS = Limits(max_documents=20, max_document_bytes=1 << 16)


def outcome(body: bytes, piece: int) -> tuple[object, ...]:
    """What comes of a body that arrives in pieces."""
    found: list[tuple[int, bytes]] = []
    try:
        intake = MultipartIntake(LIMITS, "multipart/form-data; boundary=b")
        for at in range(0, len(body), piece):
            found += [(d.ordinal, bytes(d.content)) for d in intake.feed(body[at : at + piece])]
        intake.finish()
    except ApiError as problem:
        return type(problem), 0
    return None, *found


@atheris.instrument_func
def one_input(data: bytes) -> None:
    if len(data) < 2:
        return
    piece, body = 1 + data[0], data[1:]
    if outcome(body, piece) != outcome(body, len(body)):
        raise AssertionError("the outcome depends on how the body is cut")
    if CANARY and body[0] == ord("~"):
        raise AssertionError("the canary")


CANARY = "--canary" in sys.argv
if __name__ == "__main__":
    atheris.Setup([argument for argument in sys.argv if argument != "--canary"], one_input)
    atheris.Fuzz()
