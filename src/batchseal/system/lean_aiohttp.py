"""Loads aiohttp without the certificates of the system. The processes of the service that use it import this module first.

aiohttp makes a context of its own for TLS when it is loaded, which takes 40 ms and 0.7 MB. Every request of the service brings
one (`upstream/transport.py`). Without certificates, that of aiohttp trusts nobody.
"""

import ssl
import sys

if "aiohttp" not in sys.modules:
    _create = ssl.create_default_context
    ssl.create_default_context = lambda *_, **__: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        import aiohttp  # noqa: F401
    finally:
        ssl.create_default_context = _create
