"""Loads structlog without the package rich. The processes of the service import this module first.

structlog imports rich, if it is installed, to write to a coloured console. The service writes JSON lines, and rich would cost 5
MB in each process.
"""

from batchseal.system.without import without

with without("rich"):
    import structlog  # noqa: F401
