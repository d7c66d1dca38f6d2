"""What `helm test` runs, and that values.yaml, values.schema.json, the templates and the README know the same values."""

import http.server
import json
import re
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from harness.chart_readme import CHART, PAGE, page, schema_of, values
from tests.support.chart_examples import example
from tests.support.deployment import Objects, rendered

SCHEMA = json.loads((CHART / "values.schema.json").read_text("utf-8"))


# --- the test of a release ---------------------------------------------------------------------------------------------


@contextmanager
def service(status: int, context: ssl.SSLContext | None = None) -> Iterator[int]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(self.path.encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def ask(objects: Objects, port: int) -> subprocess.CompletedProcess[str]:
    """Runs what the pod of `helm test` runs, with this machine in place of the Service."""
    (hook,) = (each for each in objects if each["kind"] == "Pod")
    (asks,) = hook["spec"]["containers"]
    address = re.sub(r"//[^/]+", f"//127.0.0.1:{port}", asks["args"][1])
    command = [sys.executable, "-c", asks["args"][0], address, *asks["args"][2:]]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


def test_the_test_of_a_release_asks_whether_the_service_is_ready() -> None:
    with service(200) as port:
        done = ask(rendered(), port)
        assert done.returncode == 0 and "/health/ready" in done.stdout
    with service(503) as port:
        assert ask(rendered(), port).returncode == 1
    assert ask(rendered(), port).returncode == 1, "nothing listens there any more"


def test_the_test_of_a_release_knows_tls(tmp_path: Path) -> None:
    certificate, key = str(tmp_path / "tls.crt"), str(tmp_path / "tls.key")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-subj", "/CN=seals", "-days", "2", "-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with service(200, context) as port:
        assert ask(rendered(tls={"secret": "tls"}), port).returncode == 0
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(certificate)
    with service(200, context) as port:
        done = ask(example("tls")["objects"], port)
        assert done.returncode == 0 and "asks for a certificate" in done.stdout
        assert ask(rendered(tls={"secret": "tls"}), port).returncode == 1
    assert ask(example("tls")["objects"], port).returncode == 1, "nothing listens there any more"


# --- values, schema and README say the same ----------------------------------------------------------------------------


def test_the_readme_lists_all_values() -> None:
    now = PAGE.read_text("utf-8")
    assert now == page(now), "run `make chart-readme`"
    listed = {".".join(value.path) for value in values((CHART / "values.yaml").read_text("utf-8"), SCHEMA)}
    assert listed == {".".join(path) for path in leaves(yaml.safe_load((CHART / "values.yaml").read_text("utf-8")))}


def leaves(found: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths that the README has to list: all keys but those inside of what Kubernetes reads, or of what is in one line."""
    text = (CHART / "values.yaml").read_text("utf-8")
    for key, value in found.items():
        here = (*path, key)
        yield here
        is_block = re.search(rf"^{'  ' * len(path)}{key}:$", text, re.MULTILINE)
        if isinstance(value, dict) and is_block and "properties" in schema_of(SCHEMA, here):
            yield from leaves(value, here)


def test_the_schema_knows_the_values_and_no_others() -> None:
    defaults = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
    assert SCHEMA["properties"].keys() - {"global"} == defaults.keys()

    def compare(part: dict[str, Any], path: tuple[str, ...]) -> None:
        schema = schema_of(SCHEMA, path)
        if "properties" not in schema or not part:
            return
        assert schema["additionalProperties"] is False
        if path[-1] not in ("startupProbe", "readinessProbe", "livenessProbe", "resources"):
            assert schema["properties"].keys() == part.keys(), path
        for key, value in part.items():
            if isinstance(value, dict):
                compare(value, (*path, key))

    for key, value in defaults.items():
        if isinstance(value, dict):
            compare(value, (key,))


def test_every_value_has_an_effect() -> None:
    templates = "".join(path.read_text("utf-8") for path in (CHART / "templates").rglob("*.*"))
    for value in values((CHART / "values.yaml").read_text("utf-8"), SCHEMA):
        parent = f"toYaml $values.{value.path[0]} "
        assert re.search(rf"\.{value.path[-1]}\b", templates) or parent in templates, value.path
