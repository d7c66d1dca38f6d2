"""What the names of a template stand for."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from asn1crypto import x509

# Dates are in UTC, since the caller's time zone is not known.
DATE_FORMAT, DAY_FORMAT = "%Y-%m-%d %H:%M:%S UTC", "%Y-%m-%d"


def template_values(
    certificate: bytes, signing_time: datetime, reason: str | None, location: str | None
) -> Mapping[str, str]:
    """The texts by name; one that is not known is empty. `certificate` is the signer's, in DER."""
    return _of_certificate(certificate) | {
        "date": signing_time.astimezone(UTC).strftime(DATE_FORMAT),
        "reason": reason or "",
        "location": location or "",
    }


@lru_cache(maxsize=64)
def _of_certificate(certificate: bytes) -> dict[str, str]:
    parsed = x509.Certificate.load(certificate)
    return {
        "certificate.commonName": _attribute(parsed.subject, "common_name"),
        "certificate.organization": _attribute(parsed.subject, "organization_name"),
        "certificate.serialNumber": f"{parsed.serial_number:X}",
        "certificate.issuerCommonName": _attribute(parsed.issuer, "common_name"),
        "certificate.notBefore": parsed.not_valid_before.strftime(DAY_FORMAT),
        "certificate.notAfter": parsed.not_valid_after.strftime(DAY_FORMAT),
    }


def _attribute(name: x509.Name, kind: str) -> str:
    """The values of an attribute of a name, in order; usually there is one."""
    value: Any = name.native.get(kind, "")
    return ", ".join(value) if isinstance(value, list) else str(value)
