"""Judges validation material: whether it says of every certificate of a chain who has issued it, and that it was not revoked.

That makes level LT (EN 319 132-1 6.3, EN 319 122-1 6.3): a verifier needs nothing else, even when the authorities are gone.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import pairwise

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

from batchseal.client.judges.chains import MAX_CERTIFICATES, UNREADABLE, Chains, called, loaded
from batchseal.client.judges.revocation import Answer, OcspResponse, Unfit, list_says
from batchseal.client.judges.verdicts import Findings

# So many responders may answer for each other, each for the one before, and so many certificates are judged for one chain.
# Whoever makes a file can put any number of them into it.
MOST_RESPONDERS, MOST_JUDGED = 4, 200


class Material:
    """Certificates, OCSP responses and CRLs (DER) of a file. `unreadable` says what of them cannot be read."""

    def __init__(
        self, certificates: Iterable[bytes], responses: Iterable[bytes], lists: Iterable[bytes], roots: Sequence[bytes]
    ) -> None:
        self.unreadable: list[str] = []
        self._responses, self._lists = list[OcspResponse](), list[x509.CertificateRevocationList]()
        for der in dict.fromkeys(responses):
            try:
                self._responses.append(OcspResponse(der))
            except (LookupError, AttributeError, *UNREADABLE) as problem:
                self.unreadable.append(f"an OCSP response cannot be read ({problem})")
        for der in dict.fromkeys(lists):
            try:
                self._lists.append(x509.load_der_x509_crl(der))
            except UNREADABLE as problem:
                self.unreadable.append(f"a CRL cannot be read ({problem})")
        certificates = list(dict.fromkeys(certificates))
        if any(loaded(der) is None for der in certificates[:MAX_CERTIFICATES]):
            self.unreadable.append("a certificate cannot be read")
        if len(certificates) > MAX_CERTIFICATES:
            self.unreadable.append(f"there are more than {MAX_CERTIFICATES} certificates")
        self._chains = Chains(certificates, roots)
        self._ends_at_roots = bool(roots)
        self._judged = 0

    def judge(self, leaf: bytes, moment: datetime, *, revoked_later_is_fine: bool) -> Findings:
        """What is wrong with the chain of a certificate (DER) that was used at `moment`, or is not known of it.

        `revoked_later_is_fine`: a time stamp, which is not of this chain, shows that the key was used before.
        """
        findings, self._judged = Findings(), 0
        certificate = loaded(leaf)
        chain = self._chains.of(certificate) if certificate is not None else []
        if certificate is not None and not chain:
            end = "one of --root" if self._ends_at_roots else "a root that is in it"
            findings.lacking.append(f"no chain of certificates leads from {called(certificate)} to {end}")
        for one, issuer in pairwise(chain):
            if not one.not_valid_before_utc <= moment <= one.not_valid_after_utc:
                findings.broken.append(f"{called(one)} was not valid at {moment:%Y-%m-%d %H:%M}")
            findings.add(self._judge_one(one, issuer, moment, revoked_later_is_fine, ()))
        return findings

    def _judge_one(
        self,
        one: x509.Certificate,
        issuer: x509.Certificate,
        moment: datetime,
        revoked_later_is_fine: bool,
        doubted: tuple[x509.Certificate, ...],
    ) -> Findings:
        """`doubted` are responders about whom it is not known whether they were revoked: their answers do not count."""
        findings, name = Findings(), called(one)
        self._judged += 1
        if len(doubted) > MOST_RESPONDERS or self._judged > MOST_JUDGED:
            findings.lacking.append(f"too many responders answer for each other, {name} among them")
            return findings
        answers, unfit = list[Answer](), list[tuple[str, Unfit]]()
        for kind, said in self._answers(one, issuer, moment):
            if isinstance(said, Unfit):
                unfit.append((kind, said))
            elif said.responder not in doubted:
                answers.append(said)
        revoked = [answer.revoked for answer in answers if answer.revoked is not None]
        if revoked and not (revoked_later_is_fine and min(revoked) > moment):
            findings.broken.append(f"{name} was revoked at {min(revoked):%Y-%m-%d %H:%M}")
        elif answers:
            findings.add(self._judge_responders(answers, issuer, moment, doubted))
        elif unfit:
            kind, why = max(unfit, key=lambda said: said[1].is_broken)
            text = f"the {kind} about {name} does not count: {why.why}"
            (findings.broken if why.is_broken else findings.lacking).append(text)
        else:
            findings.lacking.append(f"nothing says whether {name} was revoked")
        return findings

    def _judge_responders(
        self,
        answers: Sequence[Answer],
        issuer: x509.Certificate,
        moment: datetime,
        doubted: tuple[x509.Certificate, ...],
    ) -> Findings:
        """What is wrong with those who have answered; nothing where one answer is enough."""
        findings = Findings()
        for answer in answers:
            responder = answer.responder
            if responder is None or _needs_no_check(responder):
                return Findings()
            found = self._judge_one(responder, issuer, moment, False, (*doubted, responder))
            if found.is_clean:
                return found
            findings.add(found)
        return findings

    def _answers(
        self, one: x509.Certificate, issuer: x509.Certificate, moment: datetime
    ) -> Iterator[tuple[str, Answer | Unfit]]:
        for response in self._responses:
            if (said := response.says(one, issuer, moment, self._chains.certificates)) is not None:
                yield "OCSP response", said
        for crl in self._lists:
            try:
                said = list_says(crl, one, issuer, moment)
            except UNREADABLE as problem:  # an extension that the library reads when it is asked for
                said = Unfit(f"it cannot be read ({problem})", is_broken=True)
            if said is not None:
                yield "CRL", said


def _needs_no_check(responder: x509.Certificate) -> bool:
    """Whether nobody can ask about a responder's certificate (RFC 6960 4.2.2.2.1).

    Either its issuer says that it is not revoked before it ends, or it names no place to ask.
    """
    asks = False
    for extension in responder.extensions:
        if isinstance(extension.value, x509.OCSPNoCheck):
            return True
        if isinstance(extension.value, x509.AuthorityInformationAccess):
            asks |= any(one.access_method == AuthorityInformationAccessOID.OCSP for one in extension.value)
        asks |= isinstance(extension.value, x509.CRLDistributionPoints)
    return not asks
