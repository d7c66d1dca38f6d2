"""The main job over real sockets, judged by validators that are not ours."""

import io
import ssl
from pathlib import Path

from harness.validators import itext_verify, judging, pdfsig_verify, pyhanko_verify
from pyhanko.pdf_utils.reader import PdfFileReader
from tests.acceptance.conftest import Running

from batchseal.client.batch import BatchBody, Wishes, find_documents
from batchseal.client.seal import seal_batch


def test_a_batch_comes_back_signed(running: Running, invoices: list[Path], tmp_path: Path) -> None:
    client = running.client()
    documents = find_documents(invoices)
    body = BatchBody(documents, "acceptance batch", "A batch", Wishes("Approved", "Oeiras"))
    result = seal_batch(client, body, tmp_path, lambda *_: None)
    client.close()
    assert result.refused == []
    assert len(result.signed) == len(invoices)
    originals = {path.name: path.read_bytes() for path in invoices}
    for signed in result.signed:
        assert signed.read_bytes().startswith(originals[signed.name])
    root_pem = running.service.root.read_bytes()
    root_der = ssl.PEM_cert_to_DER_cert(root_pem.decode())
    for signed in result.signed:
        (verdict,) = pyhanko_verify(signed, root_der)
        assert verdict.good, verdict
    with judging():
        by_pdfsig = pdfsig_verify(result.signed, root_pem)
        by_itext = itext_verify(result.signed)
    assert [v for path in result.signed for v in by_pdfsig[path] if not v.good] == []
    assert all(len(by_pdfsig[path]) == 1 for path in result.signed)
    # iText 5 opens each and finds the signature: the judge of the xref's form.
    for path in result.signed:
        assert [v.whole_file for v in by_itext[path].verdicts] == [True], by_itext[path]


def test_the_profile_of_pades_b_b(running: Running, invoices: list[Path], tmp_path: Path) -> None:
    """ETSI EN 319 142-1 6.3, point by point, as pyHanko reads the signed file."""
    client = running.client()
    body = BatchBody(find_documents(invoices[:2]), "acceptance profile", "Two", Wishes("Approved by José", "Óbidos"))
    result = seal_batch(client, body, tmp_path, lambda *_: None)
    client.close()
    for path in result.signed:
        (signature,) = PdfFileReader(io.BytesIO(path.read_bytes())).embedded_signatures
        dictionary = signature.sig_object
        assert dictionary["/SubFilter"] == "/ETSI.CAdES.detached"
        assert dictionary["/Filter"] == "/Adobe.PPKLite"
        assert dictionary["/Reason"] == "Approved by José"
        assert dictionary["/Location"] == "Óbidos"
        assert dictionary["/M"].startswith("D:20")
        assert "/Cert" not in dictionary
        (signer,) = signature.signed_data["signer_infos"]
        attributes = {attribute["type"].native for attribute in signer["signed_attrs"]}
        assert attributes == {"content_type", "message_digest", "signing_certificate_v2"}
        subjects = [c.chosen.subject.native["common_name"] for c in signature.signed_data["certificates"]]
        assert len(subjects) >= 2, "the chain is embedded"
        assert signature.signed_data["encap_content_info"]["content"].native is None
