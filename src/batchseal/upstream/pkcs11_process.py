"""The process that holds a PKCS#11 library: `python -m batchseal.upstream.pkcs11_process`, spoken to by `pkcs11`.

Messages (`system/messages.py`) come on standard input and go to standard output. The first one, `[wanted]`, says which token,
key and PIN; each later one, `[name, *arguments]`, is answered by `[ok, result]`. Ends with its input.
"""

import fcntl
import os
import sys
from contextlib import suppress
from typing import Any, BinaryIO

import pkcs11
from asn1crypto import algos, core
from pkcs11 import KeyType, Mechanism, ObjectClass
from pkcs11.mechanisms import MGF

from batchseal.system import messages
from batchseal.system.parent import die_with_parent
from batchseal.upstream.pkcs11 import MAX_MESSAGE_BYTES

PSS = {
    "sha256": (Mechanism.SHA256, MGF.SHA256, 32),
    "sha384": (Mechanism.SHA384, MGF.SHA384, 48),
    "sha512": (Mechanism.SHA512, MGF.SHA512, 64),
}


class Token:
    """One session, one key."""

    def __init__(self, wanted: dict[str, str]) -> None:
        # SoftHSM and others fail where several processes open or log in at once.
        with open(wanted["lock"], "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            token = pkcs11.lib(wanted["module"]).get_token(token_label=wanted["token"])
            self.session = token.open(user_pin=wanted["pin"])
        # Which methods a key has depends on what it can do.
        self.key: Any = self.session.get_key(object_class=ObjectClass.PRIVATE_KEY, label=wanted.get("object"))

    def chain(self) -> list[bytes]:
        """The certificate with the key's identifier, then all others on the token."""
        found = []
        for held in self.session.get_objects({pkcs11.Attribute.CLASS: ObjectClass.CERTIFICATE}):
            own = held[pkcs11.Attribute.ID] == self.key.id
            found.append((not own, held[pkcs11.Attribute.VALUE]))
        return [der for _, der in sorted(found, key=lambda entry: entry[0])]

    def sign(self, digests: list[bytes], digest_name: str, pss: bool) -> list[bytes]:
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
    """RFC 8017 9.2: what PKCS #1 v1.5 signs."""
    algorithm = {"algorithm": digest_name, "parameters": core.Null()}
    return bytes(algos.DigestInfo({"digest_algorithm": algorithm, "digest": digest}).dump())


def main() -> None:
    die_with_parent()  # a library that hangs must not outlive the signer: nobody else would end it
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints is no answer
    with suppress(EOFError):
        serve(sys.stdin.buffer, answers)


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Raises EOFError where the requests end."""
    (wanted,) = messages.read_blocking(requests, MAX_MESSAGE_BYTES)
    token = None
    while True:
        name, *arguments = messages.read_blocking(requests, MAX_MESSAGE_BYTES)
        try:
            token = token or Token(wanted)
            answer = [True, getattr(token, {"chain": "chain", "sign": "sign"}[name])(*arguments)]
        except Exception as problem:  # every error of the library is the caller's to judge
            token = None
            answer = [False, f"{type(problem).__name__}: {problem}"[:200]]
        answers.write(messages.pack(answer))
        answers.flush()


if __name__ == "__main__":
    main()
