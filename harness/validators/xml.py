"""Judges of XML signatures that are not ours: xmlsec1 and the JDK. They judge references and values, not certificates.

Whether an invoice has nothing but a signature more than before, its bytes say.
"""

import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from lxml import etree

from harness.validators import folder_for_now, tool

XADES = "http://uri.etsi.org/01903/v1.3.2#"


def xmlsec1_verify(path: Path, certificate: Path, signature: int = 1) -> str:
    """Empty where signature number `signature` (from 1) is right, else what xmlsec1 says. `certificate` is in PEM.

    It knows no RSASSA-PSS.
    """
    command = [tool("xmlsec1"), "--verify", "--pubkey-cert-pem", str(certificate)]
    command += ["--id-attr:Id", f"{XADES}:SignedProperties"]
    command += ["--node-xpath", f"(//*[local-name()='Signature'])[{signature}]", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    return "" if done.returncode == 0 else (done.stderr or done.stdout or f"exit code {done.returncode}")


@cache
def _java_classes() -> tuple[str, Path]:
    folder = folder_for_now("xml")
    javac = tool("javac")
    subprocess.run([javac, "-d", folder, Path(__file__).with_name("XmlVerify.java")], check=True, capture_output=True)
    return tool("java"), folder


def jdk_verify(files: Sequence[tuple[Path, Path]]) -> dict[Path, list[bool]]:
    """For each file whether each of its signatures is right; no verdicts for a file that the JDK cannot read. All in one JVM.

    `files`: the file, and the certificate in PEM of those who signed it.
    """
    java, classes = _java_classes()
    asked = "\n".join(f"{certificate}\t{path}" for path, certificate in files) + "\n"
    command = [java, "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp", str(classes), "XmlVerify"]
    done = subprocess.run(command, input=asked.encode(), capture_output=True, timeout=600, check=True)
    verdicts: dict[Path, list[bool]] = {}
    for line in done.stdout.decode().splitlines():
        path, _, said = line.partition("\t")
        verdicts[Path(path)] = [] if said.startswith("FAIL") else [one == "true" for one in said.split()]
    return verdicts


def only_signature_added(original: bytes, signed: bytes) -> bool:
    """Whether an invoice of `harness/xml_invoices.py` has a signature where its empty ExtensionContent was, and is as before."""
    start, end = signed.find(b"<ds:Signature "), signed.find(b"</ds:Signature>")
    if start < 0 or end < start:
        return False
    signature = signed[start : end + len(b"</ds:Signature>")]
    filled = b"<ext:ExtensionContent>" + signature + b"</ext:ExtensionContent>"
    return signed == original.replace(b"<ext:ExtensionContent/>", filled, 1)


def certificate_file(signed: Path, folder: Path) -> Path:
    """The certificate of the signer in a signed XML file, as a PEM file in `folder`. Whether it is trusted, other judges say."""
    text = etree.parse(signed).findtext(".//{http://www.w3.org/2000/09/xmldsig#}X509Certificate")
    path = folder / "signer.pem"
    path.write_text(f"-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    return path


def taken_by_xmlsec1(files: Sequence[Path], certificate: Path) -> int:
    """How many files have a first signature that is right, and of the owner of `certificate` (PEM)."""
    with ThreadPoolExecutor(2) as pool:
        return sum(not said for said in pool.map(lambda file: xmlsec1_verify(file, certificate), files))
