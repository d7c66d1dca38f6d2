"""The sandbox as a process: who may log in, what a grant allows, and what remains after a restart."""

import base64
import hashlib
import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.x509.verification import Criticality, ExtensionPolicy, PolicyBuilder, Store

TOKEN = "/oauth2/authorization-server/oauth/token"
BASIC = {"Authorization": "Basic " + base64.b64encode(b"A:first secret").decode()}
DIGESTS = [base64.b64encode(hashlib.sha256(b"%d" % n).digest()).decode() for n in range(5)]


@contextmanager
def sandbox(folder, *options):
    services = folder / "client-services-config.json"
    if not services.exists():
        services.write_text('{"A": {"secret": "first secret"}, "B": {"secret": "other"}}')
    command = [sys.executable, "-m", "batchseal.sandbox", f"--folder={folder / 'keys'}", f"--services={services}"]
    with subprocess.Popen([*command, "--credential=p256", *options], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(120) == 0


class Client:
    """Makes the calls of one client service."""

    def __init__(self, session, address):
        self.session, self.address, self.headers = session, address, {}

    async def login(self, **how):
        how = how or {"headers": BASIC, "data": {"grant_type": "client_credentials"}}
        async with self.session.post(self.address + TOKEN, **how) as response:
            answer = await response.json()
            self.headers = {"Authorization": f"Bearer {answer.get('access_token')}"}
            return response.status, answer

    async def call(self, method, body=None):
        url = f"{self.address}/csc/v1/{method}"
        async with self.session.post(url, json=body or {}, headers=self.headers) as response:
            return response.status, await response.json()

    async def sign(self, sad, credential, digests, algorithm="1.2.840.10045.4.3.2"):
        body = {"credentialID": credential, "SAD": sad, "hash": digests, "signAlgo": algorithm}
        return await self.call("signatures/signHash", body)


@pytest.fixture
async def client(tmp_path):
    with sandbox(tmp_path, "--multisign=4") as address:
        async with aiohttp.ClientSession() as session:
            yield Client(session, address)


async def test_tokens(client):
    status, answer = await client.login()
    assert status == 200 and set(answer) == {"access_token", "token_type", "expires_in", "scope", "jti"}
    in_query = {"params": {"grant_type": "client_credentials"}, "headers": BASIC}
    in_form = {"data": {"grant_type": "client_credentials", "client_id": "A", "client_secret": "first secret"}}
    assert (await client.login(**in_query))[0] == (await client.login(**in_form))[0] == 200
    wrong = {"data": {"grant_type": "client_credentials", "client_id": "A", "client_secret": "wrong"}}
    assert (await client.login(**wrong))[0] == 401
    assert (await client.login(headers=BASIC, data={"grant_type": "password"}))[0] == 400


@pytest.mark.parametrize("method", ["credentials/list", "credentials/info", "signatures/signHash"])
async def test_calls_need_a_token_that_was_issued(client, method):
    assert (await client.call(method))[0] == 401
    await client.login()
    token = client.headers["Authorization"]
    for forged in ("Bearer", "Bearer x", token[:-4] + "AAAA", token.replace(".", ".e30", 1)):
        client.headers = {"Authorization": forged}
        assert (await client.call(method))[0] == 401


async def test_info_is_public_and_names_what_is_there(client):
    status, answer = await client.call("info")
    assert status == 200 and answer["specs"].startswith("1.0.4") and "signatures/signHash" in answer["methods"]


async def test_a_grant_is_for_its_digests_and_for_once(client):
    await client.login()
    name = (await client.call("credentials/list"))[1]["credentialIDs"][0]

    async def authorize(digests, count=None):
        body = {"credentialID": name, "numSignatures": count or len(digests), "hash": digests}
        return await client.call("credentials/authorize", body)

    status, grant = await authorize(DIGESTS[:3])
    assert status == 200
    assert (await client.sign(grant["SAD"], name, DIGESTS[3:4]))[0] == 400
    assert (await client.sign(grant["SAD"], name, DIGESTS[:1], algorithm="1.2.3"))[0] == 400
    assert (await client.sign(grant["SAD"], "another", DIGESTS[:1]))[0] == 400
    status, answer = await client.sign(grant["SAD"], name, DIGESTS[:2])
    assert status == 200 and len(answer["signatures"]) == 2
    assert (await client.sign(grant["SAD"], name, DIGESTS[:1]))[0] == 400
    extended = await client.call("credentials/extendTransaction", {"credentialID": name, "SAD": grant["SAD"]})
    assert (await client.sign(grant["SAD"], name, DIGESTS[2:3]))[0] == 400
    assert (await client.sign(extended[1]["SAD"], name, DIGESTS[2:3]))[0] == 200
    assert (await client.sign(extended[1]["SAD"], name, DIGESTS[2:3]))[0] == 400
    assert (await authorize(DIGESTS))[0] == 400  # more than --multisign
    assert (await authorize(DIGESTS[:2], count=3))[0] == 400
    assert (await authorize([], count=1))[0] == 400
    assert (await authorize(["AAAA"]))[0] == 400 and (await authorize(["?"]))[0] == 400


async def test_one_client_service_has_nothing_of_another(client):
    await client.login()
    name = (await client.call("credentials/list"))[1]["credentialIDs"][0]
    other = {"grant_type": "client_credentials", "client_id": "B", "client_secret": "other"}
    await client.login(data=other)
    assert (await client.call("credentials/list"))[1]["credentialIDs"] != [name]
    assert (await client.call("credentials/info", {"credentialID": name}))[0] == 400


async def test_a_service_added_to_the_file_gets_in_at_once(client, tmp_path):
    services = tmp_path / "client-services-config.json"
    table = {**json.loads(services.read_text()), "C": {"secret": "new"}}
    services.write_text(json.dumps(table))
    how = {"data": {"grant_type": "client_credentials", "client_id": "C", "client_secret": "new"}}
    assert (await client.login(**how))[0] == 200


@pytest.mark.parametrize("kind", ["rsa2048", "rsa3072", "p256"])
async def test_signatures_and_chain_are_valid_and_keys_stay(tmp_path, kind):
    chains = []
    for _ in range(2):
        with sandbox(tmp_path, f"--credential={kind}") as address:
            async with aiohttp.ClientSession() as session:
                client = Client(session, address)
                await client.login()
                name = (await client.call("credentials/list"))[1]["credentialIDs"][0]
                body = {"credentialID": name, "certificates": "chain"}
                info = (await client.call("credentials/info", body))[1]
                body = {"credentialID": name, "numSignatures": 5, "hash": DIGESTS}
                sad = (await client.call("credentials/authorize", body))[1]["SAD"]
                algorithm = info["key"]["algo"][-1]
                signatures = (await client.sign(sad, name, DIGESTS, algorithm))[1]["signatures"]
                async with session.get(f"{address}/sandbox/requests") as counted:
                    assert (await counted.json())["signatures"] == {name: 5}
        chains.append([x509.load_der_x509_certificate(base64.b64decode(c)) for c in info["cert"]["certificates"]])
        check_signatures(chains[-1][0].public_key(), signatures)
    assert chains[0] == chains[1]
    root = x509.load_pem_x509_certificate((tmp_path / "keys" / "root.pem").read_bytes())
    assert chains[0][2] == root
    # A library validates the path (RFC 5280), without the rules for end certificates of web servers.
    leaf = ExtensionPolicy.permit_all().require_present(x509.KeyUsage, Criticality.CRITICAL, None)
    policy = (
        PolicyBuilder()
        .store(Store([root]))
        .extension_policies(ee_policy=leaf, ca_policy=ExtensionPolicy.webpki_defaults_ca())
    )
    policy.build_client_verifier().verify(chains[0][0], [chains[0][1]])
    for path in list_keys(tmp_path):
        assert path.stat().st_mode & 0o77 == 0


def list_keys(folder):
    return list((folder / "keys").glob("*.key"))


def check_signatures(key, signatures):
    for digest, signature in zip(map(base64.b64decode, DIGESTS), map(base64.b64decode, signatures), strict=True):
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, digest, padding.PKCS1v15(), Prehashed(hashes.SHA256()))
        else:
            key.verify(signature, digest, ec.ECDSA(Prehashed(hashes.SHA256())))


def test_the_address_goes_to_a_descriptor_and_a_bad_file_ends_the_start(tmp_path):
    services = tmp_path / "client-services-config.json"
    command = [sys.executable, "-m", "batchseal.sandbox", f"--folder={tmp_path}", f"--services={services}"]
    reading, writing = os.pipe()
    process = subprocess.Popen([*command, "--credential=p256", f"--ready-fd={writing}"], pass_fds=[writing])
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert pipe.read().startswith("http://127.0.0.1:")
    process.terminate()
    assert process.wait(120) == 0
    services.write_text("{")
    failed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (
        failed.returncode == 2 and "client-services-config.json" in failed.stderr and "Traceback" not in failed.stderr
    )
