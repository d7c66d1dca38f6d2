"""What is made of odd answers of an object store: nothing is lost by them, and nobody waits for ever."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from batchseal.errors import PayloadUnavailable
from batchseal.payloads.bucket_requests import BucketRequests
from batchseal.payloads.object_keys import Keys
from batchseal.settings.payload_stores import ObjectAddress

PAGE = b"<html><body>Please log in<br></body></html>"
UPLOADS = """<ListMultipartUploadsResult>{more}
    <Upload><Key>p/payloads/1</Key><UploadId>u</UploadId><Initiated>{began}</Initiated></Upload>
</ListMultipartUploadsResult>"""
MORE = "<IsTruncated>true</IsTruncated><NextKeyMarker>k</NextKeyMarker><NextUploadIdMarker>u</NextUploadIdMarker>"
RULES = (
    b"<LifecycleConfiguration><Rule><ID>of the customer</ID><Status>Enabled</Status></Rule></LifecycleConfiguration>"
)

# Is given the method and the body of a request.
Answer = Callable[[str, bytes], bytes]


def store(monkeypatch: pytest.MonkeyPatch, answer: Answer) -> BucketRequests:
    """Requests to a store that says 200 and this."""
    keys = Keys("key", "secret")
    requests = BucketRequests(ObjectAddress(bucket="b", prefix="p", endpoint="http://127.0.0.1:1"), lambda: keys)

    def answered(method: str, query: Any, *, path: str, body: bytes = b"", part: Any = None) -> Any:
        return 200, {}, answer(method, body)

    monkeypatch.setattr(requests, "answer", answered)
    return requests


def listed(began: str, more: str = "") -> Answer:
    return lambda method, body: UPLOADS.format(began=began, more=more).encode()


@pytest.mark.parametrize("began", ["2026-11-30T08:00:00.000Z", "2026-11-30T08:00:00", "2026-11-30T09:00:00+01:00"])
def test_an_open_upload_has_a_time_with_a_zone(monkeypatch: pytest.MonkeyPatch, began: str) -> None:
    (found,) = store(monkeypatch, listed(began)).open_uploads("p/payloads/")
    assert found.began == datetime(2026, 11, 30, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    "answer", [listed(""), listed("lately"), lambda method, body: PAGE, listed("2026-11-30T08:00:00Z", MORE)]
)
def test_a_list_of_open_uploads_that_nobody_can_use_is_an_error_of_the_store(
    monkeypatch: pytest.MonkeyPatch, answer: Answer
) -> None:
    """The sweep goes on without it. The last one of these lists has no end."""
    with pytest.raises(PayloadUnavailable):
        store(monkeypatch, answer).open_uploads("p/payloads/")


@pytest.mark.parametrize("page", [PAGE, b"<html><body>Please log in</body></html>"])
def test_rules_that_cannot_be_read_are_not_replaced(monkeypatch: pytest.MonkeyPatch, page: bytes) -> None:
    written = list[bytes]()

    def page_for_rules(method: str, body: bytes) -> bytes:
        written.extend([body] if method == "PUT" else [])
        return page

    with pytest.raises(PayloadUnavailable):
        store(monkeypatch, page_for_rules).set_abort_rule("p/payloads/")
    assert written == []


def test_a_rule_is_added_to_those_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    written = list[bytes]()

    def rules(method: str, body: bytes) -> bytes:
        written.extend([body] if method == "PUT" else [])
        return written[-1] if written else RULES

    requests = store(monkeypatch, rules)
    assert not requests.aborts_incomplete_uploads("a&b/payloads/")
    requests.set_abort_rule("a&b/payloads/")
    assert requests.aborts_incomplete_uploads("a&b/payloads/")
    assert b"of the customer" in written[-1]
