"""What the operator's page is told of credentials, and what is said of grants that a person gives."""

from collections.abc import Sequence
from typing import Any, Protocol

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from batchseal.errors import DatabaseUnavailable, UpstreamError
from batchseal.store.credentials import GrantState
from batchseal.upstream.interface import Account, RemoteKey
from batchseal.upstream.kept_grants import GrantTable

log = structlog.get_logger("upstream")


class CredentialNotes(GrantTable, Protocol):
    """Where facts and grants are kept (`store/credentials.py`)."""

    async def note(self, credential: str, client: str, facts: dict[str, Any], *, needs_otp: bool) -> None: ...
    async def note_problem(self, credential: str, client: str, problem: str) -> None: ...


def facts_of(key: RemoteKey) -> dict[str, Any]:
    """Of its certificate, and how it signs."""
    certificate = x509.load_der_x509_certificate(key.credential.chain[0])
    public = key.public_key
    kind = f"RSA {public.key_size}" if isinstance(public, rsa.RSAPublicKey) else f"EC {getattr(public, 'key_size', 0)}"
    return {
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "serial": f"{certificate.serial_number:x}",
        "key": kind,
        "validTo": certificate.not_valid_after_utc.isoformat(),
        "chain": len(key.credential.chain),
        "multisign": key.multisign,
        "needsPin": key.needs_pin,
    }


async def note_key(notes: CredentialNotes, account: Account, key: RemoteKey) -> None:
    """Notes what was read of a credential. Never raises: nobody waits for it."""
    try:
        await notes.note(key.credential.credential_id, account.name, facts_of(key), needs_otp=key.needs_otp)
    except (DatabaseUnavailable, ValueError) as problem:
        log.info("a credential is not noted", credential=key.credential.credential_id, cause=str(problem))


async def note_problem(notes: CredentialNotes, account: Account, problem: UpstreamError) -> None:
    """Notes why the credential of an account cannot be used. Never raises."""
    try:
        await notes.note_problem(account.credential_id or "", account.name, problem.cause)
    except DatabaseUnavailable as away:
        log.info("a credential is not noted", client_service=account.name, cause=away.cause)


def remarks_on_grants(states: Sequence[GrantState]) -> list[str]:
    """What an operator should look at: grants that have ended first."""
    found = []
    for one in sorted(states, key=lambda one: one.state != "lapsed"):
        name = f"credential {one.credential_id} of {one.client_service}"
        if one.state == "lapsed":
            found.append(f"{name} waits for a new grant: batchseal credential renew {one.client_service}")
        elif one.state == "ends soon":
            assert one.seconds is not None
            found.append(f"{name}: its grant ends in {one.seconds / 86_400:.0f} days or after {one.left} signatures")
    return found


def numbers_of_grants(states: Sequence[GrantState]) -> dict[str, float]:
    """Metrics: the least that is left of any grant, and how many have ended."""
    if not states:
        return {}
    return {
        "batchseal_grants_lapsed": float(sum(one.state == "lapsed" for one in states)),
        "batchseal_grant_left_seconds": max(0.0, min(one.seconds or 0.0 for one in states)),
        "batchseal_grant_left_signatures": float(min(one.left or 0 for one in states)),
        "batchseal_grant_left_ratio": min((one.left or 0) / one.total if one.total else 0.0 for one in states),
    }
