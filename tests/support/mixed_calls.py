"""Calls of every kind, each to another address than the call before it, whose answers are judged.

The addresses are those of instances, or that of a load balancer in front of them. Where each instance keeps payloads to itself,
the others must refuse the documents of an operation with its address. Against a service that runs:

    python -m tests.support.mixed_calls http://127.0.0.1:8080 --services work/client-services-config.json --calls 10000
"""

import argparse
import base64
import http.client
import io
import itertools
import json
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from harness.service import RunningService
from harness.several import Several
from tests.support.service import BASE, batch, credentials, documents

from batchseal.settings.client_services import ClientServices

TOKEN = "/oauth2/authorization-server/oauth/token"
SECONDS = 60.0
STRANGER = "stranger", "a secret of more than sixteen"


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Registered:
    id: int
    reference: str
    owner: str  # the instance that took it in, by its header
    contents: Sequence[bytes]


def basic(client_id: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()


@dataclass
class MixedCalls:
    """One caller, for one thread. `addresses` are called in turn (URLs); `advertised` is what replies must name.

    `own_payloads`: each instance alone reads what it took in; then `listens` gives the address of each instance by its id.
    """

    addresses: Sequence[str]
    credentials: tuple[str, str]
    stranger: tuple[str, str]
    contents: Sequence[bytes]
    name: str
    advertised: tuple[str, int] | None = None
    own_payloads: bool = False
    listens: dict[str, str] = field(default_factory=dict)
    pace: Callable[[], object] = lambda: None  # called before each call, which may wait there

    def __post_init__(self) -> None:
        self.calls = Counter[str]()
        self.wrong: list[str] = []
        self._next = itertools.cycle(self.addresses)
        self._open: dict[str, http.client.HTTPConnection] = {}
        self._numbers = itertools.count()
        self._token = ""
        self.sent_again = 0  # calls whose kept connection had been closed

    # --- one call -----------------------------------------------------------------------------------------------------

    def send(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """A call to the next address, on a connection that is kept if the answer leaves it open."""
        self.pace()
        url = next(self._next)
        headers = {"Authorization": basic(*self.credentials), "Content-Type": "application/json"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        kept = self._open.pop(url, None)
        for connection in filter(None, (kept, self._connection(url))):
            try:
                connection.request(method, path, body, headers)
                reply = connection.getresponse()
            except (ConnectionError, http.client.RemoteDisconnected):
                connection.close()
                # A kept connection may have been closed meanwhile, before it took a byte of this call (RFC 9112 9.3.1).
                if connection is kept and method == "GET":
                    self.sent_again += 1
                    continue
                raise
            answer = Answer(reply.status, {n.lower(): v for n, v in reply.getheaders()}, reply.read())
            if reply.will_close:
                connection.close()
            else:
                self._open[url] = connection
            return answer
        raise AssertionError("no connection")

    @staticmethod
    def _connection(url: str) -> http.client.HTTPConnection:
        place = urlsplit(url)
        return http.client.HTTPConnection(place.hostname or "", place.port, timeout=SECONDS)

    def close(self) -> None:
        for connection in self._open.values():
            connection.close()

    def check(self, kind: str, judge: Callable[[], None]) -> None:
        """Counts a call of this kind, and notes what is wrong with its answer."""
        self.calls[kind] += 1
        try:
            judge()
        except (AssertionError, KeyError, TypeError, ValueError, OSError, http.client.HTTPException) as problem:
            self.wrong.append(f"{kind}: {type(problem).__name__}: {problem}"[:500])

    # --- calls that belong together -----------------------------------------------------------------------------------

    def round(self) -> None:
        """Takes one operation through all calls. If it cannot be registered, the calls about it are left out."""
        taken: list[Registered] = []
        self.check("token", self.token)
        self.check("register", lambda: taken.append(self.register()))
        if not taken:
            return
        (one,) = taken
        self.check("duplicate", lambda: self.duplicate(one))
        self.check("long poll", lambda: self.long_poll(one))
        self.check("status by reference", lambda: self.status(one, by_reference=True))
        self.check("status by id", lambda: self.status(one, by_reference=False))
        self.check("result by reference", lambda: self.result(one, by_reference=True))
        self.check("result by id", lambda: self.result(one, by_reference=False))
        self.check("zip", lambda: self.archive(one))
        self.check("one document", lambda: self.document(one, ""))
        self.check("range", lambda: self.document(one, "bytes=5-104"))
        self.check("document reference", lambda: self.document_reference(one))
        self.check("stranger", lambda: self.hidden(one))
        self.check("unknown", self.unknown)
        self.check("synchronous", self.synchronous)

    def token(self) -> None:
        answer = self.send("POST", f"{TOKEN}?grant_type=client_credentials", b"")
        assert answer.status == 200, answer
        self._token = answer.json()["access_token"]

    def reference(self) -> str:
        return f"{self.name} / {next(self._numbers)}"

    def register(self) -> Registered:
        """With the token of another instance."""
        reference = self.reference()
        bearer = f"Bearer {self._token}"
        answer = self.send(
            "POST", f"{BASE}/async/document/sign/base64/", batch(reference, self.contents), Authorization=bearer
        )
        assert answer.status == 200, answer
        said = answer.json()
        assert said["externalReference"] == reference, said
        self._check_address(said)
        return Registered(said["id"], reference, answer.headers["batchseal-instance"], self.contents)

    def _check_address(self, entry: dict[str, Any]) -> None:
        if self.advertised is not None:
            assert (entry["host"], entry["port"]) == self.advertised, entry

    def duplicate(self, one: Registered) -> None:
        answer = self.send("POST", f"{BASE}/async/document/sign/base64/", batch(one.reference, one.contents))
        assert answer.status == 409, answer
        assert answer.json()["errorCode"] == "0.0.7", answer
        assert answer.headers["location"].endswith(f"/operation/status/{one.id}"), answer.headers

    def long_poll(self, one: Registered) -> None:
        """Until it is finished: each wait lands at another instance."""
        for _ in range(10):
            answer = self.send("GET", self._status_path(one, by_reference=False), Prefer="wait=20")
            assert answer.status == 200, answer
            if answer.json()["status"] == "EXECUTED":
                return
            assert answer.json()["status"] in ("PENDING_EXECUTION", "EXECUTION_ERROR"), answer
            assert int(answer.headers["retry-after"]) > 0, answer.headers
        raise AssertionError(f"operation {one.id} is not finished")

    @staticmethod
    def _status_path(one: Registered, *, by_reference: bool) -> str:
        if by_reference:
            return f"{BASE}/async/operation/status/withExternalReference/{quote(one.reference, safe='')}"
        return f"{BASE}/operation/status/{one.id}"

    def status(self, one: Registered, *, by_reference: bool) -> None:
        answer = self.send("GET", self._status_path(one, by_reference=by_reference))
        assert answer.status == 200, answer
        entry = answer.json()[0] if by_reference else answer.json()
        assert (entry["id"], entry["externalReference"], entry["status"]) == (one.id, one.reference, "EXECUTED"), entry
        assert entry["documentsSigned"] == len(one.contents), entry
        self._check_address(entry)

    def _is_kept_elsewhere(self, one: Registered, answer: Answer) -> bool:
        """Whether the instance that has answered cannot read the payload. Then it must have said who can."""
        if not self.own_payloads or answer.headers["batchseal-instance"] == one.owner:
            return False
        assert answer.status == 503, answer
        assert int(answer.headers["retry-after"]) > 0, answer.headers
        said = answer.json()
        assert said["errorCode"] == "batchseal.payload_unavailable", said
        assert said["causeMessage"].endswith(f"ask {self.listens[one.owner]}"), said
        return True

    def result(self, one: Registered, *, by_reference: bool) -> None:
        path = f"{BASE}/operation/sign/detail/{one.id}/contentInResponse/true"
        if by_reference:
            path = f"{BASE}/async/operation/sign/detail/withExternalReference/{quote(one.reference, safe='')}"
        answer = self.send("GET", path)
        if not self._is_kept_elsewhere(one, answer):
            self._check_result(answer, one.reference, one.contents)

    @staticmethod
    def _check_result(answer: Answer, reference: str, contents: Sequence[bytes]) -> None:
        assert answer.status == 200, answer
        said = answer.json()
        assert (said["status"], said["folderExternalReference"]) == ("EXECUTED", reference), said
        documents = [base64.b64decode(entry["signedContent"]) for entry in said["documentList"]]
        assert len(documents) == len(contents)
        for signed, original in zip(documents, contents, strict=True):
            assert signed.startswith(original) and len(signed) > len(original)

    def archive(self, one: Registered) -> None:
        answer = self.send("GET", f"{BASE}/operation/sign/detail/{one.id}/documents")
        if self._is_kept_elsewhere(one, answer):
            return
        assert answer.status == 200, answer
        with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
            assert archive.testzip() is None
            assert [
                archive.read(name)[: len(content)]
                for name, content in zip(archive.namelist(), one.contents, strict=True)
            ] == list(one.contents)

    def document(self, one: Registered, wanted: str) -> None:
        ordinal = len(one.contents) - 1
        path = f"{BASE}/operation/sign/detail/{one.id}/documents/{ordinal}"
        answer = self.send("GET", path, Range=wanted) if wanted else self.send("GET", path)
        if self._is_kept_elsewhere(one, answer):
            return
        original = one.contents[ordinal]
        if wanted:
            assert (answer.status, answer.body) == (206, original[5:105]), answer
        else:
            assert answer.status == 200, answer
            assert answer.body.startswith(original) and len(answer.body) > len(original)

    def document_reference(self, one: Registered) -> None:
        """All operations have documents of the same references, so it is the newest of the caller: this one or a later one."""
        answer = self.send("GET", f"{BASE}/operation/id/withDocumentExternalReference/{quote('doc 0')}")
        assert answer.status == 200, answer
        assert int(answer.body) >= one.id, answer

    def hidden(self, one: Registered) -> None:
        """For another client service it does not exist."""
        answer = self.send("GET", self._status_path(one, by_reference=False), Authorization=basic(*self.stranger))
        assert answer.status == 404, answer
        assert answer.json()["errorCode"] == "batchseal.not_found", answer

    def unknown(self) -> None:
        answer = self.send("GET", f"{BASE}/async/operation/status/withExternalReference/{quote('never ' + self.name)}")
        assert answer.status == 404, answer

    def synchronous(self) -> None:
        reference = self.reference()
        answer = self.send("POST", f"{BASE}/document/sign/base64/", batch(reference, self.contents[:1]))
        self._check_result(answer, reference, self.contents[:1])


def add_stranger(services_file: Path) -> None:
    """Adds a client service to the file, which owns nothing of what the callers sign. An instance reads the file at its start."""
    services = json.loads(services_file.read_text("utf-8"))
    services[STRANGER[0]] = {"secret": STRANGER[1]}
    services_file.write_text(json.dumps(services))


def callers_of(
    rig: Several,
    services: Mapping[str, RunningService],
    count: int,
    name: str,
    *,
    documents_each: int = 2,
    balancer: str = "",
    **more: Any,
) -> list[MixedCalls]:
    """So many callers of these instances (by their names), each of which begins with another one.

    With the address of a `balancer` that stands before them, all of them call that.
    """
    addresses = [balancer] if balancer else [one.url for one in services.values()]
    listens = {rig.identity(place): f"127.0.0.1:{one.port}" for place, one in services.items()}
    first = next(iter(services.values()))
    return [
        MixedCalls(
            addresses[at % len(addresses) :] + addresses[: at % len(addresses)],
            credentials(first),
            STRANGER,
            documents(documents_each),
            f"{name} {at}",
            own_payloads=not rig.shared,
            listens=listens,
            **more,
        )
        for at in range(count)
    ]


def run_all(callers: Sequence[MixedCalls], calls: int) -> tuple[Counter[str], list[str]]:
    """Lets the callers go through rounds, side by side, until all calls are made. Returns them by kind, and what was wrong."""

    def work(caller: MixedCalls) -> None:
        with suppress(KeyboardInterrupt):
            while sum(sum(one.calls.values()) for one in callers) < calls:
                caller.round()

    threads = [threading.Thread(target=work, args=(caller,)) for caller in callers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made = Counter[str]()
    for caller in callers:
        made += caller.calls
        caller.close()
    return made, [wrong for caller in callers for wrong in caller.wrong]


def main() -> int:
    parser = argparse.ArgumentParser(description="Makes calls of every kind, and judges their answers.")
    parser.add_argument("addresses", nargs="+", metavar="URL", help="called in turn; a load balancer is one of them")
    parser.add_argument(
        "--services", type=Path, required=True, help="the file with the client services; it needs two of them"
    )
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--callers", type=int, default=3)
    parser.add_argument("--documents", type=int, default=3, help="in each operation")
    arguments = parser.parse_args()
    services = ClientServices.load(arguments.services)
    first, second, *_ = ((name, one.secret) for name in services.ids() if (one := services.get(name)))
    contents = documents(arguments.documents)
    name = f"{time.time_ns():x}"
    callers = [
        MixedCalls(arguments.addresses, first, second, contents, f"{name} {at}") for at in range(arguments.callers)
    ]
    made, wrong = run_all(callers, arguments.calls)
    print(json.dumps({"calls": made.total(), "wrong": len(wrong), "by_kind": made, "first_wrong": wrong[:3]}, indent=2))
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
