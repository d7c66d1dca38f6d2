"""Imported first by the service's processes: loads structlog without rich.

structlog takes rich along for a coloured console, where it finds it. The service writes JSON lines, and would carry 5 MB
for it in each process.
"""

import sys

if "rich" not in sys.modules:
    sys.modules["rich"] = None  # type: ignore[assignment]
    import structlog  # noqa: F401

    del sys.modules["rich"]
