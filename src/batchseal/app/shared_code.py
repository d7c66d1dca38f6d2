"""Loads the code that both the workers and the signer need. They are forked from a process that has loaded it (`forked.py`).

What only one of them needs is not loaded here. It would be shared with nobody who uses it, and a process that runs writes to many
pages of its code, since objects of Python count their references.
"""

from batchseal.app import __main__  # noqa: F401  (first: it keeps out what libraries would load for nothing)

# isort: split
# The libraries of the server and of the client that a worker and the signer have both need these.
import mimetypes  # noqa: F401
import urllib.request  # noqa: F401

from batchseal.admission import admission, working  # noqa: F401
from batchseal.audit import chain  # noqa: F401
from batchseal.formats.pades import long_term, pades  # noqa: F401
from batchseal.payloads import operation, records, stores  # noqa: F401
from batchseal.processes import link  # noqa: F401
from batchseal.store import evidence_records, finished, materials  # noqa: F401
from batchseal.system import expiring, mapped  # noqa: F401
from batchseal.system.telemetry import meter  # noqa: F401
from batchseal.upstream import state  # noqa: F401
