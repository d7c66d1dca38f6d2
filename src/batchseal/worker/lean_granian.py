"""Granian without what it imports only because it is installed: packages that its command line uses, and this service does not.

Where `anyio` is installed it would cost each worker 2 MB, and `watchfiles` imports it too.
"""

from batchseal.system.without import without

with without("anyio", "dotenv", "setproctitle", "watchfiles"):
    from granian.constants import HTTPModes, Interfaces, SSLProtocols
    from granian.http import HTTP1Settings
    from granian.server.embed import Server

__all__ = ["HTTP1Settings", "HTTPModes", "Interfaces", "SSLProtocols", "Server"]
