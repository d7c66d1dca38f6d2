"""Loads structlog without the package rich. The processes of the service import this module first.

structlog imports rich, if it is installed, to write to a coloured console. The service writes JSON lines, and rich would cost 5
MB in each process.
"""

import sys

if "rich" not in sys.modules:
    sys.modules["rich"] = None  # type: ignore[assignment]
    import structlog  # noqa: F401

    del sys.modules["rich"]
