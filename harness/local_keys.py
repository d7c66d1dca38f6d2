"""Local keys for tests: PKCS#12 files made by OpenSSL, SoftHSM2 tokens made by its own tools."""

import os
import subprocess
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from batchseal.sandbox.authority import Authority
from harness.tools import SOFTHSM_MODULE

MODULE = SOFTHSM_MODULE
PIN = "1234"


def make_pem(folder: Path, kind: str) -> tuple[Path, Path, Path]:
    """Key, certificate with chain, and root, as PEM files: from a sandbox authority of its own."""
    authority = Authority(folder / "authority", kind)
    signer = authority.signer("local")
    key, chain = folder / "key.pem", folder / "chain.pem"
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    key.write_bytes(signer.key.private_bytes(*form))
    chain.write_bytes(b"".join(c.public_bytes(serialization.Encoding.PEM) for c in signer.chain))
    return key, chain, folder / "authority" / "root.pem"


def make_pkcs12(folder: Path, kind: str, *, legacy: bool, password: str = PIN) -> tuple[Path, Path]:
    """The file, and the root's PEM file."""
    key, chain, root = make_pem(folder, kind)
    path = folder / "seal.p12"
    command: list[str | Path] = [
        "openssl",
        "pkcs12",
        "-export",
        "-inkey",
        key,
        "-in",
        chain,
        "-out",
        path,
        "-passout",
        f"pass:{password}",
    ]
    subprocess.run([*command, *(["-legacy"] if legacy else [])], check=True)
    return path, root


def make_token(folder: Path, kind: str) -> tuple[str, Path]:
    """The token's URI, and the root's PEM file. Sets SOFTHSM2_CONF for this process and those it starts."""
    key, chain, root = make_pem(folder, kind)
    (folder / "tokens").mkdir()
    configuration = folder / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\n")
    os.environ["SOFTHSM2_CONF"] = str(configuration)
    tool = ["softhsm2-util", "--module", MODULE]
    quiet = {"check": True, "stdout": subprocess.DEVNULL}
    start = ["--init-token", "--free", "--label", "t1", "--pin", PIN, "--so-pin", "5678"]
    subprocess.run([*tool, *start], **quiet)  # type: ignore[call-overload]
    bring = ["--import", str(key), "--token", "t1", "--label", "seal", "--id", "01", "--pin", PIN]
    subprocess.run([*tool, *bring], **quiet)  # type: ignore[call-overload]
    return f"pkcs11:token=t1;object=seal?module-path={MODULE}&chain={chain}", root
