"""Granian without what it imports only because it is installed: packages that its command line uses, and this service does not.

Where `anyio` is installed it would cost each worker 2 MB, and `watchfiles` imports it too.
"""

import sys

UNUSED = ("anyio", "dotenv", "setproctitle", "watchfiles")

_hidden = [name for name in UNUSED if name not in sys.modules]
for _name in _hidden:
    sys.modules[_name] = None  # type: ignore[assignment]
try:
    from granian.constants import HTTPModes, Interfaces, SSLProtocols
    from granian.http import HTTP1Settings
    from granian.server.embed import Server
finally:
    for _name in _hidden:
        del sys.modules[_name]

__all__ = ["HTTP1Settings", "HTTPModes", "Interfaces", "SSLProtocols", "Server"]
