"""The process that holds a PKCS#11 library: `python -m batchseal.upstream.pkcs11_process`, spoken to by `pkcs11`.

Frames on standard input and output: a 4-byte little-endian length and msgpack. The first frame says which token, key and PIN;
each later one is answered by `[ok, result]`. Ends with its input.
"""

import ctypes
import fcntl
import os
import signal
import sys
from typing import Any, BinaryIO

import msgspec
import pkcs11
from asn1crypto import algos, core
from pkcs11 import KeyType, Mechanism, ObjectClass
from pkcs11.mechanisms import MGF

from batchseal.upstream.pkcs11 import LENGTH

PR_SET_PDEATHSIG = 1
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


def read(stream: BinaryIO) -> Any:
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        raise SystemExit(0)
    return msgspec.msgpack.decode(stream.read(LENGTH.unpack(head)[0]))


def main() -> None:
    # A library that hangs must not outlive the signer: nobody else would end it.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints is no answer
    wanted, token = read(sys.stdin.buffer), None
    while True:
        name, *arguments = read(sys.stdin.buffer)
        try:
            token = token or Token(wanted)
            answer = [True, getattr(token, {"chain": "chain", "sign": "sign"}[name])(*arguments)]
        except Exception as problem:  # every error of the library is the caller's to judge
            token = None
            answer = [False, f"{type(problem).__name__}: {problem}"[:200]]
        body = msgspec.msgpack.encode(answer)
        answers.write(LENGTH.pack(len(body)) + body)
        answers.flush()


if __name__ == "__main__":
    main()
