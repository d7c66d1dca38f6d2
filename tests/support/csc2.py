"""A CSC v2 service, made from the misbehaving one: each deviation of real servers is a switch."""

import asyncio
import base64
from typing import Any
from urllib.parse import unquote

from aiohttp import web
from harness.misbehaving import Misbehaving

SHA256 = "2.16.840.1.101.3.4.2.1"


class Csc2(Misbehaving):
    """`deviations` is a set of: always-async, sorted, urlencoded, no-mode-a, plain-text, extend, session, replay, quota, otp,
    send-otp.

    With otp a grant needs a one-time password, which is good for one grant, and the grant serves many calls (as with extend).
    With send-otp the server knows `sendOTP`, and not `getChallenge`.
    """

    def __init__(self, *deviations: str, mode: str = "S", multisign: int = 10) -> None:
        super().__init__(multisign)
        self.deviations, self.mode = set(deviations), mode
        self.pending: dict[str, tuple[int, list[str]]] = {}
        self.grants: dict[str, int] = {}
        self.numbers = 0
        self.version = "v2"
        self.otps = 0  # that were sent
        self.otp = ""  # the one that is good
        self.grant_seconds = 600
        self.each_use = False  # whether each use needs one
        self.most = 1_000_000  # signatures of a grant

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if "/csc/" in request.path and f"/csc/{self.version}/" not in request.path:
            return web.json_response({"error": "not_found"}, status=404)
        return await super().handle(request)

    def refuse(self, text: str, status: int = 400) -> web.Response:
        if "plain-text" in self.deviations:
            return web.Response(text=text, status=status)
        return web.json_response({"error": "invalid_request", "error_description": text}, status=status)

    async def misbehave(self, request: web.Request, fault: str, path: str, body: Any) -> web.StreamResponse:
        method = {"info": self.info, "list": self.listed, "authorize": self.authorize, "signHash": self.sign_hash}
        method |= {"signPolling": self.polling, "extendTransaction": self.extend}
        method |= {"sendOTP" if "send-otp" in self.deviations else "getChallenge": self.send_otp}
        if path not in method:
            return web.json_response({"error": "not_found"}, status=404)
        answer = method[path](body)
        await asyncio.sleep(0)
        return answer if isinstance(answer, web.Response) else web.json_response(answer)

    def info(self, body: Any) -> Any:
        if "credentialID" not in body:
            return {"specs": "2.0.0.0", "name": "v2", "methods": [], **self.more_info()}
        if body.get("certInfo") and "plain-text" in self.deviations:
            return self.refuse("not implemented", 501)
        objects = [{"id": "PIN", "type": "Password"}]
        if "otp" in self.deviations:
            objects.append({"id": "smsOTP", "type": "OTP"})
        return {
            "key": {"status": "enabled", "algo": ["1.2.840.10045.4.3.2"]},
            "cert": {"status": "valid", "certificates": [base64.b64encode(self.certificate).decode()]},
            "auth": {"mode": "explicit", "expression": "PIN", "objects": objects},
            "SCAL": "1" if self.serves_many and not self.each_use else "2",
            "multisign": self.most if self.serves_many else self.multisign,
        }

    @property
    def serves_many(self) -> bool:
        """Whether a grant serves many calls."""
        return bool({"extend", "otp"} & self.deviations)

    def send_otp(self, body: Any) -> Any:
        assert body["credentialID"] == "one"
        self.otps += 1
        self.otp = f"{self.otps:06}"
        return {}

    def more_info(self) -> Any:
        return {"asynchronousOperationMode": self.mode, "signAlgorithms": {"algos": ["1.2.840.10045.4.3.2"]}}

    def listed(self, body: Any) -> Any:
        return {"credentialIDs": ["one"]}

    def digests(self, body: Any) -> list[bytes]:
        texts = body["hashes"]
        assert body.get("hash") is None
        if "urlencoded" in self.deviations:
            assert all("+" not in text and "=" not in text and "/" not in text for text in texts)
            texts = [unquote(text) for text in texts]
        return [base64.b64decode(text, validate=True) for text in texts]

    def new_grant(self, left: int) -> Any:
        self.numbers += 1
        self.grants[f"sad-{self.numbers}"] = left
        return {"SAD": f"sad-{self.numbers}", "expiresIn": self.grant_seconds}

    def authorize(self, body: Any) -> Any:
        if "otp" in self.deviations:
            given = {entry["id"]: entry["value"] for entry in body.get("authData", [])}
            if given != {"PIN": "1234", "smsOTP": self.otp} or not self.otp:
                return self.refuse("wrong OTP or PIN")
            self.otp = ""
            return self.new_grant(body["numSignatures"])
        digests = self.digests(body)
        assert body["hashAlgorithmOID"] == SHA256
        if body.get("authData") != [{"id": "PIN", "value": "1234"}]:
            return self.refuse("wrong PIN")
        if "extend" not in self.deviations:
            assert body["numSignatures"] == len(digests) <= self.multisign
        return self.new_grant(body["numSignatures"])

    def extend(self, body: Any) -> Any:
        left = self.grants.pop(body["SAD"] + " used", None)
        return self.refuse("invalid SAD") if left is None else self.new_grant(left)

    def sign_hash(self, body: Any) -> Any:
        digests = self.digests(body)
        left = self.grants.pop(body["SAD"], None)  # good for one call
        if left is None or ("session" in self.deviations and self.calls["signHash"] == 2):
            return self.refuse("the session has ended")
        if "quota" in self.deviations and self.calls["signHash"] > 2:
            return self.refuse("signing quota exceeded", 429)
        if self.serves_many and left < len(digests):
            return self.refuse("SAD has too few signatures left")
        if self.serves_many:
            self.grants[body["SAD"] + " used"] = left - len(digests)
        if body["operationMode"] == "A" and "no-mode-a" in self.deviations:
            return self.refuse("mode A is not offered", 501)
        for digest in digests:
            text = base64.b64encode(digest).decode()
            self.sent[text] = self.sent.get(text, 0) + 1
        ordered = sorted(digests) if "sorted" in self.deviations else digests
        values = [self.sign(digest) for digest in ordered]
        if body["operationMode"] == "A" or "always-async" in self.deviations:
            self.numbers += 1
            self.pending[str(self.numbers)] = (2, values)
            return {"requestID" if "always-async" in self.deviations else "responseID": str(self.numbers)}
        return {"signatures": values}

    def polling(self, body: Any) -> Any:
        always = "always-async" in self.deviations
        handle = body["requestID" if always else "responseID"]
        left, values = self.pending[handle]
        self.pending[handle] = (left - 1, values)
        if left > 0:
            return self.refuse("The previous request is still being processed") if always else {}
        return {"signatures": values}
