"""Every exception of Batchseal. The first line of a docstring is the fixed text that callers see.

There are two families: an `ApiError` ends a request, and an `UpstreamError` says what the signing service did. If one document of
a request cannot be signed, that is a `Refusal` (document.py) and no exception. Code, HTTP status and cause are fields.
"""

from typing import ClassVar

from batchseal.operation import VISIBLE_CODE, SignError


class BatchsealError(Exception):
    """Batchseal could not do what was asked.

    `cause` says why, in a sentence for people. Without one it is the first line of the docstring.
    """

    def __init__(self, cause: str = "") -> None:
        self.cause = cause or self.description()
        super().__init__(self.cause)

    @classmethod
    def description(cls) -> str:
        """The fixed text of this kind of error."""
        return (cls.__doc__ or "").strip().splitlines()[0]


class ConfigurationError(BatchsealError):
    """The configuration cannot be used."""


class DatabaseUnavailable(BatchsealError):
    """The database cannot be reached."""


class DocumentUnsuitable(BatchsealError):
    """The document does not allow the signature that is wanted."""

    def __init__(self, cause: str = "", sign_error: SignError = SignError.NOT_SIGNABLE) -> None:
        super().__init__(cause)
        self.sign_error = sign_error  # the `signError` of the document


class PayloadDamaged(BatchsealError):
    """A stored payload does not match its checksum."""


class LeaseLost(BatchsealError):
    """Somebody else works on this operation now."""


class FileChanged(BatchsealError):
    """A file was changed after it was claimed. `cause` is its path below the input folder."""


class LocalFileError(BatchsealError):
    """A file of the user cannot be read or written."""


class RequestFailed(BatchsealError):
    """The service did not do what the client asked."""

    def __init__(
        self, cause: str = "", *, status: int = 0, code: str | None = None, retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(cause)
        self.status, self.code = status, code  # the HTTP status of the reply; 0: there was no reply
        self.retry_after_seconds = retry_after_seconds


class ApiError(BatchsealError):
    """The request could not be carried out.

    `code` is the code in the reply, `status` its HTTP status, and `vendor_status` the HTTP status of the original product.
    `location` is the address of the operation that the reply is about, `operation_id` its id.
    """

    code: ClassVar[str | None] = "0.0.1"
    status: ClassVar[int] = 500
    vendor_status: ClassVar[int] = 500

    def __init__(self, cause: str = "", *, retry_after_seconds: int | None = None, location: str | None = None) -> None:
        super().__init__(cause)
        self.retry_after_seconds, self.location = retry_after_seconds, location
        self.operation_id: int | None = None


class InternalError(ApiError):
    """An unexpected condition stopped the request."""


class InvalidRequest(ApiError):
    """A mandatory attribute is missing, or the body is not what it says."""

    code, status, vendor_status = "0.0.2", 400, 500


class NotConfigured(ApiError):
    """The client service has no usable configuration."""

    code, status, vendor_status = "0.0.3", 500, 500


class TooLarge(ApiError):
    """An attribute, a document or the batch is larger than the limit."""

    code, status, vendor_status = "0.0.4", 413, 500


class ValueNotAllowed(ApiError):
    """An attribute has a value that is not allowed."""

    code, status, vendor_status = "0.0.6", 400, 500


class VisibleSignatureImpossible(ApiError):
    """The visible signature cannot be drawn."""

    code, status, vendor_status = VISIBLE_CODE, 400, 400


class ReferenceTaken(ApiError):
    """This external reference is taken."""

    code, status, vendor_status = "0.0.7", 409, 409
    operation_id: int

    def __init__(self, reference: str, operation_id: int) -> None:
        super().__init__(f"external reference {reference!r} is taken by operation {operation_id}")
        self.operation_id = operation_id


class InvalidToken(ApiError):
    """The token is invalid or has run out."""

    # Not the 409 of the original product: the known client renews its token only after a 401.
    code, status, vendor_status = "0.0.10", 401, 401


class UnknownClientService(ApiError):
    """The client service is unknown."""

    code, status, vendor_status = "1.1.0", 401, 401


class InactiveClientService(ApiError):
    """The client service is not active."""

    code, status, vendor_status = "1.1.1", 403, 401


class CrossSite(ApiError):
    """A page of another site had a browser send the request."""

    code, status, vendor_status = "batchseal.cross_site", 403, 403


class Forbidden(ApiError):
    """The role of this operator does not allow it."""

    code, status, vendor_status = "batchseal.forbidden", 403, 403


class ProviderUnavailable(ApiError):
    """The provider that operators sign in with cannot be used."""

    code, status, vendor_status = "batchseal.provider_unavailable", 503, 503


class NotSignable(ApiError):
    """No document of the request can be signed; trying again does not help."""

    code, status, vendor_status = "batchseal.not_signable", 422, 500


class SigningUnavailable(ApiError):
    """The signing service or a time stamp authority failed; trying again later may help."""

    code, status, vendor_status = "batchseal.signing_unavailable", 503, 503


class TooManyRequests(ApiError):
    """Too many requests at once."""

    code, status, vendor_status = None, 429, 429


class NotFound(ApiError):
    """There is no such operation."""

    code, status, vendor_status = "batchseal.not_found", 404, 404


class MethodNotAllowed(ApiError):
    """The address does not take this method."""

    code, status, vendor_status = "batchseal.method_not_allowed", 405, 405


class NotFinished(ApiError):
    """The operation is not finished yet."""

    code, status, vendor_status = "batchseal.not_finished", 409, 409


class ResultExpired(ApiError):
    """The result of this operation is no longer kept."""

    code, status, vendor_status = "batchseal.result_expired", 410, 410


class RecordPending(ApiError):
    """The evidence record is not made yet."""

    code, status, vendor_status = "batchseal.record_pending", 409, 409


class RecordGivenUp(ApiError):
    """The evidence record was given up; asking again does not help."""

    code, status, vendor_status = "batchseal.record_given_up", 410, 410


class BodyStalled(ApiError):
    """The body stopped arriving."""

    code, status, vendor_status = "batchseal.body_stalled", 408, 408


class NoRoom(ApiError):
    """There is no room for this request now."""

    code, status, vendor_status = "batchseal.no_room", 503, 503


class NoSpace(ApiError):
    """The temporary space is full."""

    code, status, vendor_status = "batchseal.no_space", 507, 507


class PayloadUnavailable(ApiError):
    """The stored payload cannot be read just now; trying again later helps."""

    code, status, vendor_status = "batchseal.payload_unavailable", 503, 503


class PayloadsOfAnother(PayloadUnavailable):
    """The payload store belongs to another database, so nothing may be stored there."""


class NotDoneInTime(ApiError):
    """The operation takes longer than a synchronous request waits; the work goes on."""

    code, status, vendor_status = "batchseal.not_done_in_time", 503, 503


class UpstreamError(BatchsealError):
    """The signing service did not do what it was asked."""

    sign_error: ClassVar[SignError] = SignError.CERT_SERVICE_GLOBAL_ERROR  # That of a document that fails so.
    try_again: ClassVar[bool] = False  # Whether another try can help.
    waits_for_operator: ClassVar[bool] = False  # Whether only an operator can mend it. Then nobody's patience ends.
    is_sent: ClassVar[bool] = True  # False: errors of this kind come before the request is sent.

    def __init__(self, cause: str = "", *, retry_after_seconds: float | None = None, asked: bool = True) -> None:
        super().__init__(cause)
        self.retry_after_seconds = retry_after_seconds
        self.asked = (
            asked and self.is_sent
        )  # False: the signing service never got the request, so this counts as a try of no document


class UpstreamTransient(UpstreamError):
    """The signing service is away for the moment."""

    try_again = True


class UpstreamUnavailable(UpstreamTransient):  # this counts as a try of no document
    """The signing service has failed several times and is not asked for the moment."""


class AccessLapsed(UpstreamUnavailable):
    """The permission to use a credential has run out, and a person must renew it."""

    sign_error = SignError.INVALID_CERT_ACCESS_ACCOUNT
    waits_for_operator = True  # however long that takes


class CallHeldBack(UpstreamError):
    """The call was not sent, for a reason of this installation. That says nothing of the signing service."""

    try_again, is_sent = True, False


class TurnOver(CallHeldBack):
    """The calls of this credential go through another instance now. The call was not sent."""


class UpstreamRateLimited(UpstreamError):
    """The signing service asks for a pause."""

    try_again = True


class UpstreamQuotaGone(UpstreamError):
    """The quota at the signing service is used up."""

    sign_error = SignError.INVALID_CERT_ACCESS_ACCOUNT


class UpstreamAuthExpired(UpstreamError):
    """The signing service no longer takes the token."""

    sign_error = SignError.INVALID_CERT_SERVICE_CREDS
    try_again = True


class UpstreamAuthRefused(UpstreamError):
    """The signing service does not know this client service, or its secret is wrong."""

    sign_error = SignError.INVALID_CERT_SERVICE_CREDS


class GrantExpired(UpstreamError):
    """The authorization for these digests has run out."""

    try_again = True


class CredentialUnusable(UpstreamError):
    """The credential cannot sign."""

    sign_error = SignError.INVALID_CERTIFICATE_SIGN_ERROR


class CredentialUnnamed(CredentialUnusable):
    """The account has several credentials, or none, and the configuration names none."""


class CertificateRenewed(CredentialUnusable):
    """The certificate was renewed after this document was prepared."""


class ItemRejected(UpstreamError):
    """The signing service refused this digest, or its signature does not verify."""


class SignatureMissing(ItemRejected):
    """The signing service's answer holds no signature that verifies for this document."""

    try_again = True  # if the other signatures of the call are right, the next call will probably be right too


class OutcomeUnknown(UpstreamError):
    """The connection broke after the request was sent."""

    try_again = True


class UpstreamPermanent(UpstreamError):
    """The signing service refused the request."""


class CallRejected(UpstreamPermanent):
    """The signing service refused a call. One digest in it may be the reason."""

    def __init__(self, cause: str = "", *, said: str = "") -> None:
        super().__init__(cause)
        self.said = said  # the answer in lower case, to search it for known phrases; not meant for people


class CallTooLarge(UpstreamPermanent):
    """The signing service takes no call of this size."""


class TimestampFailed(UpstreamError):
    """No time stamp could be had for this signature."""

    sign_error = SignError.TIMESTAMP_SIGN_ERROR
    try_again = True


class MaterialUnavailable(UpstreamError):
    """Validation material cannot be had at the moment."""

    try_again, is_sent = True, False  # the signature is kept


class CertificateRevoked(UpstreamError):
    """A certificate was revoked."""

    sign_error = SignError.INVALID_CERTIFICATE_SIGN_ERROR


class MaterialImpossible(UpstreamError):
    """There can be no validation material for a certificate."""

    sign_error = SignError.CONFIGURATION_SIGN_ERROR
