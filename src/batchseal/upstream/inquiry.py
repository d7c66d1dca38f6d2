"""Asks the places that certificates name: OCSP responders, lists of revoked certificates, and certificates of issuers.

Owns the limits of such a request, and that private hosts are asked only where they are named. Leaves HTTP to `transport`, and
what an answer means to `ocsp`, `crl` and `certification_path`.
"""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace

from batchseal.errors import MaterialUnavailable, UpstreamError
from batchseal.upstream.public_hosts import PublicResolver, refuse_private
from batchseal.upstream.transport import Route, Transport

OCSP_SECONDS, FILE_SECONDS = 15.0, 60.0


class Inquiry:
    """`private_hosts` are the host names and IP addresses that may be asked although they are private.

    `ocsp_seconds` and `file_seconds` are how long an answer may take, from the first byte that is sent to the last that comes.
    """

    def __init__(
        self,
        route: Route,
        private_hosts: Collection[str] = (),
        *,
        ocsp_seconds: float = OCSP_SECONDS,
        file_seconds: float = FILE_SECONDS,
    ) -> None:
        self._ocsp_seconds, self._file_seconds = ocsp_seconds, file_seconds
        self._route = replace(route, client_certificate="")  # that is for the signing service alone
        self._private_hosts = frozenset(private_hosts)

    async def ocsp(self, address: str, request: bytes) -> bytes:
        """What a responder answers to an OCSPRequest (RFC 6960 A.1). Raises MaterialUnavailable."""
        transport = self._transport(address)
        try:
            return await transport.exchange(
                request, "application/ocsp-request", "application/ocsp-response", self._ocsp_seconds
            )
        except UpstreamError as problem:
            raise unavailable(address, problem) from None
        finally:
            await transport.close()

    async def file(self, address: str, max_bytes: int, book: Callable[[int], Awaitable[None]] | None = None) -> bytes:
        """What is published at an address. Raises MaterialUnavailable, also for more than `max_bytes`.

        `book` is awaited with the number of bytes that may come, before they do.
        """
        transport = self._transport(address)
        try:
            return await transport.fetch(self._file_seconds, max_bytes, book)
        except UpstreamError as problem:
            raise unavailable(address, problem) from None
        finally:
            await transport.close()

    def _transport(self, address: str) -> Transport:
        """For one request, since the next one to the same host comes after hours."""
        refuse_private(address, self._private_hosts)
        # A proxy looks the host up itself.
        direct = self._route.proxy_for(address) is None
        return Transport(address, self._route, PublicResolver(self._private_hosts) if direct else None)


def unavailable(address: str, problem: UpstreamError) -> MaterialUnavailable:
    """The error in the terms of whoever needs the material. It keeps the pause that the server asked for."""
    if isinstance(problem, MaterialUnavailable):
        return problem
    return MaterialUnavailable(f"{address}: {problem.cause}", retry_after_seconds=problem.retry_after_seconds)
