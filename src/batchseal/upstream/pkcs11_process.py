"""The process that runs the library of a PKCS#11 token: `python -m batchseal.upstream.pkcs11_process`. `pkcs11` starts it.

It reads messages (`system/messages.py`) from standard input, and answers on standard output. The first message, `[wanted]`, names
the token, the key and the PIN. Each later message, `[name, *arguments]`, is answered by `[ok, result]`. The process ends when its
input ends or its parent dies. It opens the token again after an error; it leaves it to `pkcs11` to judge the error.
"""

import fcntl
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import pkcs11
from asn1crypto import algos, core
from pkcs11 import KeyType, Mechanism, ObjectClass
from pkcs11.mechanisms import MGF

from batchseal.system import messages
from batchseal.system.folders import open_folder
from batchseal.system.parent import die_with_parent
from batchseal.upstream.pkcs11 import MAX_MESSAGE_BYTES

PSS = {
    "sha256": (Mechanism.SHA256, MGF.SHA256, 32),
    "sha384": (Mechanism.SHA384, MGF.SHA384, 48),
    "sha512": (Mechanism.SHA512, MGF.SHA512, 64),
}


class Token:
    """One PKCS#11 session with one private key."""

    def __init__(self, wanted: dict[str, str]) -> None:
        # SoftHSM and other libraries fail if several processes open a token or log in at the same time.
        path = Path(wanted["lock"])
        with open_folder(path.parent, strict=False) as folder:
            descriptor = folder.open(path.name, os.O_WRONLY | os.O_CREAT)
        with os.fdopen(descriptor, "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            token = pkcs11.lib(wanted["module"]).get_token(token_label=wanted["token"])
            self.session = token.open(user_pin=wanted["pin"])
        # Any: which methods the object has depends on the abilities of the key.
        self.key: Any = self.session.get_key(object_class=ObjectClass.PRIVATE_KEY, label=wanted.get("object"))

    def chain(self) -> list[bytes]:
        """The certificates on the token as DER: first those with the ID of the key, then all others."""
        found = []
        for held in self.session.get_objects({pkcs11.Attribute.CLASS: ObjectClass.CERTIFICATE}):
            own = held[pkcs11.Attribute.ID] == self.key.id
            found.append((not own, held[pkcs11.Attribute.VALUE]))
        return [der for _, der in sorted(found, key=lambda entry: entry[0])]

    def sign(self, digests: list[bytes], digest_name: str, pss: bool) -> list[bytes]:
        """Signature values, in order. ECDSA: r and s side by side."""
        if self.key.key_type == KeyType.EC:
            return [self.key.sign(digest, mechanism=Mechanism.ECDSA) for digest in digests]
        if pss:
            parameters = PSS[digest_name]
            return [
                self.key.sign(digest, mechanism=Mechanism.RSA_PKCS_PSS, mechanism_param=parameters)
                for digest in digests
            ]
        infos = [digest_info(digest, digest_name) for digest in digests]
        return [self.key.sign(info, mechanism=Mechanism.RSA_PKCS) for info in infos]


def digest_info(digest: bytes, digest_name: str) -> bytes:
    """The DER DigestInfo that PKCS #1 v1.5 signs (RFC 8017 9.2)."""
    algorithm = {"algorithm": digest_name, "parameters": core.Null()}
    return bytes(algos.DigestInfo({"digest_algorithm": algorithm, "digest": digest}).dump())


def main() -> None:
    die_with_parent()  # a library that hangs would otherwise outlive the signer
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # text that a library prints must not get into the answers
    with suppress(EOFError):
        serve(sys.stdin.buffer, answers)


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answers requests until they end, which raises EOFError."""
    (wanted,) = messages.read_blocking(requests, MAX_MESSAGE_BYTES)
    token = None
    while True:
        name, *arguments = messages.read_blocking(requests, MAX_MESSAGE_BYTES)
        try:
            token = token or Token(wanted)
            answer = [True, getattr(token, {"chain": "chain", "sign": "sign"}[name])(*arguments)]
        except Exception as problem:  # the other process judges each error of the library
            token = None
            answer = [False, f"{type(problem).__name__}: {problem}"[:200]]
        answers.write(messages.pack(answer))
        answers.flush()


if __name__ == "__main__":
    main()
