"""pyHanko's own CSC client over the same server: what an upstream costs with the library that others use."""

import asyncio
import io
import time
from collections.abc import Sequence
from pathlib import Path

import aiohttp
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import signers
from pyhanko.sign.signers import csc_signer

BATCH = 10  # with larger ones its signer waits for ever here


class Authorization(csc_signer.CSCAuthorizationManager):
    """A grant for each batch, bound to its digests."""

    def __init__(
        self,
        info: csc_signer.CSCServiceSessionInfo,
        credential: csc_signer.CSCCredentialInfo,
        session: aiohttp.ClientSession,
    ) -> None:
        super().__init__(info, credential)
        self._session = session

    async def authorize_signature(self, hash_b64s: list[str]) -> csc_signer.CSCAuthorizationInfo:
        body = self.format_csc_auth_request(hash_b64s=hash_b64s)
        url = self.csc_session_info.endpoint_url("credentials/authorize")
        async with self._session.post(url, json=body, headers=self.auth_headers) as response:
            return self.parse_csc_auth_response(await response.json())


async def sign_all(address: str, credential_id: str, paths: Sequence[Path]) -> float:
    contents = [path.read_bytes() for path in paths]
    info = csc_signer.CSCServiceSessionInfo(address, credential_id, oauth_token="any")  # noqa: S106
    async with aiohttp.ClientSession() as session:
        credential = await csc_signer.fetch_certs_in_csc_credential(session, info)
        manager = Authorization(info, credential, session)
        signer = csc_signer.CSCSigner(session, manager, batch_size=BATCH, batch_autocommit=True)

        async def sign(content: bytes) -> None:
            writer = IncrementalPdfFileWriter(io.BytesIO(content))
            metadata = signers.PdfSignatureMetadata(field_name="Signature1", md_algorithm="sha256")
            await signers.PdfSigner(metadata, signer).async_sign_pdf(writer, output=io.BytesIO())

        began = time.perf_counter()
        for first in range(0, len(contents), BATCH):
            await asyncio.gather(*map(sign, contents[first : first + BATCH]))
        return time.perf_counter() - began


def pyhanko_rate(address: str, credential_id: str, paths: Sequence[Path]) -> float:
    """Documents a second. The number of `paths` must be a multiple of BATCH, or its last batch waits for ever."""
    assert len(paths) % BATCH == 0
    return len(paths) / asyncio.run(sign_all(address, credential_id, paths))
