"""Requests that the client for objects does not have: open uploads, rules and versions of a bucket, and ranges of poor stores.

They are signed by AWS Signature Version 4 (docs.aws.amazon.com: "Create a signed AWS API request"). Each call blocks, and raises
PayloadUnavailable where the store does not do what it is asked.
"""

import base64
import hashlib
import hmac
import http
import http.client
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree

from batchseal.errors import PayloadUnavailable
from batchseal.payloads.object_keys import Keys
from batchseal.settings.payload_stores import ObjectAddress

TIMEOUT_SECONDS = 20.0
# A list of at most 1,000 uploads takes about 500 KB. The answer to a range has as many bytes as were asked for.
MOST_ANSWER_BYTES = 8 << 20
RULE_ID = "batchseal-abort-incomplete-uploads"
ABORT_DAYS = 1
# The element that holds the rules of a bucket, and what stands for an answer without content.
RULES, NOTHING = "LifecycleConfiguration", "nothing"


@dataclass(frozen=True, slots=True)
class OpenUpload:
    """A multipart upload that nobody has completed or aborted."""

    key: str
    upload_id: str
    began: datetime


class BucketRequests:
    """`keys` gives the keys to sign with, None where the role of the machine is used: then nothing can be asked here."""

    def __init__(self, address: ObjectAddress, keys: Callable[[], Keys | None]) -> None:
        self._address = address
        self._keys = keys

    @property
    def can_ask(self) -> bool:
        return self._keys() is not None

    def make_bucket(self) -> None:
        self._ask("PUT", {}, accepted=(200, 409))

    def open_uploads(self, prefix: str) -> list[OpenUpload]:
        """Those whose key begins with `prefix`."""
        found, marks = list[OpenUpload](), dict[str, str]()
        while True:
            root = _document(self._ask("GET", {"uploads": "", "prefix": prefix, **marks}))
            found += map(_open_upload, _children(root, "Upload"))
            next_key, before = _text(root, "NextKeyMarker"), marks
            if _text(root, "IsTruncated") != "true" or not next_key:
                return [one for one in found if one.key.startswith(prefix)]
            marks = {"key-marker": next_key, "upload-id-marker": _text(root, "NextUploadIdMarker")}
            if marks == before:
                raise PayloadUnavailable("the payload store gives the same part of its open uploads again")

    def abort(self, upload: OpenUpload) -> None:
        self._ask("DELETE", {"uploadId": upload.upload_id}, path=upload.key, accepted=(200, 204, 404))

    def aborts_incomplete_uploads(self, prefix: str) -> bool:
        """Whether a rule of the bucket ends uploads below `prefix` that were begun and not completed."""
        answer = self._ask("GET", {"lifecycle": ""}, accepted=(200, 404))
        return any(_is_abort_rule(rule, prefix) for rule in _children(_document(answer), "Rule"))

    def set_abort_rule(self, prefix: str) -> None:
        """Adds a rule that ends such uploads after a day. The rules that there are stay."""
        before = _document(self._ask("GET", {"lifecycle": ""}, accepted=(200, 404)))
        if _name(before) not in (RULES, NOTHING):
            raise PayloadUnavailable("the payload store does not say which rules the bucket has")
        kept = "".join(_without_namespace(rule) for rule in _children(before, "Rule") if _text(rule, "ID") != RULE_ID)
        below = ElementTree.Element("Prefix")
        below.text = prefix
        rule = (
            f"<Rule><ID>{RULE_ID}</ID><Filter>{ElementTree.tostring(below, 'unicode')}</Filter><Status>Enabled</Status>"
            f"<AbortIncompleteMultipartUpload><DaysAfterInitiation>{ABORT_DAYS}</DaysAfterInitiation>"
            "</AbortIncompleteMultipartUpload></Rule>"
        )
        body = f"<{RULES}>{kept}{rule}</{RULES}>".encode()
        self._ask("PUT", {"lifecycle": ""}, body=body, accepted=(200, 204))

    def keeps_versions(self) -> bool:
        """Whether a deleted or replaced object stays as an earlier version."""
        return _text(_document(self._ask("GET", {"versioning": ""})), "Status") == "Enabled"

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        """The bytes of an object between two offsets, or fewer where it ends.

        For stores that send a range as they should and call it 200 where it is 206 (RFC 9110 15.3.7), which the client refuses.
        Raises FileNotFoundError where there is no such object.
        """
        status, headers, content = self.answer("GET", {}, path=key, part=(start, stop))
        if status == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return b""
        if status == http.HTTPStatus.NOT_FOUND:
            raise FileNotFoundError(key)
        said = headers.get("content-range", "")
        if status not in (200, 206) or not said.startswith(f"bytes {start}-") or len(content) > stop - start:
            raise PayloadUnavailable(f"the payload store answers {status} where a range is asked for")
        return content

    def _ask(
        self,
        method: str,
        query: dict[str, str],
        *,
        path: str = "",
        body: bytes = b"",
        accepted: tuple[int, ...] = (200,),
    ) -> bytes:
        """The body of the answer; empty where it is 404."""
        status, _, content = self.answer(method, query, path=path, body=body)
        if status not in accepted:
            code = _text(_parsed(content), "Code")
            raise PayloadUnavailable(f"the payload store answers {status} {code}".rstrip())
        return b"" if status == http.HTTPStatus.NOT_FOUND else content

    def answer(
        self, method: str, query: dict[str, str], *, path: str, body: bytes = b"", part: tuple[int, int] | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        """The status, the headers and the body of the answer."""
        keys = self._keys()
        if keys is None:
            raise PayloadUnavailable("without keys only the client for objects can be used")
        url = urlsplit(self._address.url)
        target = quote("/" + "/".join(part for part in (url.path.strip("/"), path) if part), safe="/-_.~")
        pairs = sorted(query.items())
        asked = "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in pairs)
        headers = _signed(keys, self._address.region, method, url.netloc, target, asked, body)
        most = MOST_ANSWER_BYTES
        if part is not None:
            headers["range"] = f"bytes={part[0]}-{part[1] - 1}"
            most = max(most, part[1] - part[0])
        connection = self._connection(url.scheme, url.netloc)
        try:
            connection.request(method, target + (f"?{asked}" if asked else ""), body or None, headers)
            answer = connection.getresponse()
            content = answer.read(most)
            if not answer.isclosed() and answer.read(1):
                raise PayloadUnavailable("the payload store answers with more than was asked for")
        except (OSError, http.client.HTTPException) as problem:
            raise PayloadUnavailable(f"the payload store does not answer: {type(problem).__name__}") from None
        finally:
            connection.close()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, content

    def _connection(self, scheme: str, host: str) -> http.client.HTTPConnection:
        proxy = urlsplit(self._address.proxy)
        at = proxy.netloc if proxy.netloc and not self._is_direct(host) else host
        if scheme == "http":
            # Through a proxy, plain HTTP would need the whole address in the request line. A tunnel does it as well.
            plain = http.client.HTTPConnection(at, timeout=TIMEOUT_SECONDS)
            if at != host:
                plain.set_tunnel(host)
            return plain
        context = ssl.create_default_context()
        if self._address.ca:
            context.load_verify_locations(self._address.ca)
        secure = http.client.HTTPSConnection(at, timeout=TIMEOUT_SECONDS, context=context)
        if at != host:
            secure.set_tunnel(host)
        return secure

    def _is_direct(self, host: str) -> bool:
        name = host.rpartition(":")[0] or host
        return any(name == one or name.endswith(one) for one in filter(None, self._address.no_proxy.split(",")))


def _signed(keys: Keys, region: str, method: str, host: str, target: str, query: str, body: bytes) -> dict[str, str]:
    """The headers of a request with its signature."""
    now = datetime.now(UTC)
    at, day = f"{now:%Y%m%dT%H%M%SZ}", f"{now:%Y%m%d}"
    digest = hashlib.sha256(body).hexdigest()
    headers = {"host": host, "x-amz-content-sha256": digest, "x-amz-date": at}
    if keys.token:
        headers["x-amz-security-token"] = keys.token
    if body:  # of requests that set rules the store wants it (RFC 1864)
        headers["content-md5"] = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    canonical = "\n".join((method, target, query, lines, names, digest))
    scope = f"{day}/{region}/s3/aws4_request"
    text = "\n".join(("AWS4-HMAC-SHA256", at, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    key = f"AWS4{keys.secret}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.new(key, text.encode(), "sha256").hexdigest()
    credential = f"Credential={keys.key_id}/{scope}"
    return headers | {"authorization": f"AWS4-HMAC-SHA256 {credential},SignedHeaders={names},Signature={signature}"}


def _is_abort_rule(rule: ElementTree.Element, prefix: str) -> bool:
    covered = next((one.text or "" for one in rule.iter() if _name(one) == "Prefix"), "")
    aborts = any(_name(one) == "AbortIncompleteMultipartUpload" for one in rule.iter())
    return aborts and _text(rule, "Status") == "Enabled" and prefix.startswith(covered)


# --- XML, whatever namespace the store uses ---------------------------------------------------------------------------


def _document(answer: bytes) -> ElementTree.Element:
    """What a request has asked for; an empty element where there is none (404). Raises PayloadUnavailable where it is no XML."""
    try:
        return ElementTree.fromstring(answer) if answer else ElementTree.Element(NOTHING)
    except ElementTree.ParseError:
        raise PayloadUnavailable("the payload store answers with something that is no XML") from None


def _open_upload(one: ElementTree.Element) -> OpenUpload:
    """Raises PayloadUnavailable where the store does not say when the upload began."""
    try:
        began = datetime.fromisoformat(_text(one, "Initiated"))
    except ValueError:
        raise PayloadUnavailable("the payload store does not say when an open upload began") from None
    # A time without a zone is UTC, as all times of this protocol are.
    return OpenUpload(_text(one, "Key"), _text(one, "UploadId"), began if began.tzinfo else began.replace(tzinfo=UTC))


def _parsed(answer: bytes) -> ElementTree.Element:
    """What an error says of itself; an empty element where that is nothing, or no XML."""
    try:
        return ElementTree.fromstring(answer)
    except ElementTree.ParseError:
        return ElementTree.Element(NOTHING)


def _name(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _children(root: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [one for one in root if _name(one) == name]


def _text(root: ElementTree.Element, name: str) -> str:
    return next((one.text or "" for one in root if _name(one) == name), "")


def _without_namespace(rule: ElementTree.Element) -> str:
    for one in rule.iter():
        one.tag = _name(one)
    return ElementTree.tostring(rule, "unicode")
