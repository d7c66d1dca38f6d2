"""Lines of the log at a syslog server over TLS: a real server, which is away for a while."""

import socket
import ssl
import threading

import pytest
from tests.support.certificates import self_signed_pair

from batchseal.errors import ConfigurationError
from batchseal.settings.load import load_settings
from batchseal.system.telemetry.syslog import AUTHPRIV, LOCAL0, Sender, message


class Server:
    """Takes messages as RFC 5425 frames them."""

    def __init__(self, certificate, key, port=0):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = self._listener.getsockname()[1]
        self._context = context
        self.messages = []
        self.came = threading.Condition()
        self._connections = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                plain, _ = self._listener.accept()
                connection = self._context.wrap_socket(plain, server_side=True)
            except OSError:
                return
            self._connections.append(connection)
            threading.Thread(target=self._read, args=(connection,), daemon=True).start()

    def _read(self, connection):
        file = connection.makefile("rb")
        try:
            while length := b"".join(iter(lambda: file.read(1), b" ")):
                with self.came:
                    self.messages.append(file.read(int(length)).decode())
                    self.came.notify_all()
        except (OSError, ValueError):
            pass

    def wait(self, count):
        with self.came:
            assert self.came.wait_for(lambda: len(self.messages) >= count, 120)
            return list(self.messages)

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)  # else the thread that accepts keeps it
        self._listener.close()
        for connection in self._connections:
            connection.shutdown(socket.SHUT_RDWR)
            connection.close()


@pytest.fixture
def pair(tmp_path):
    return self_signed_pair(tmp_path, "localhost")


def test_a_line_comes_as_one_message(pair):
    server = Server(*pair)
    sender = Sender("localhost", server.port, ssl.create_default_context(cafile=pair[0]), "worker 1")
    sender.write('{"event": "one"}', {"level": "warning", "timestamp": "2026-01-01T00:00:00Z"})
    sender.write("two", {"level": "info", "timestamp": "2026-01-01T00:00:01Z", "category": "iam"})
    one, two = server.wait(2)
    assert one.startswith(f"<{LOCAL0 * 8 + 4}>1 2026-01-01T00:00:00Z ") and one.endswith(' worker-1 - {"event": "one"}')
    assert two.startswith(f"<{AUTHPRIV * 8 + 6}>1 ")
    sender.flush()
    server.close()


def test_lines_wait_while_the_server_is_away(pair, capfd):
    server = Server(*pair)
    sender = Sender("localhost", server.port, ssl.create_default_context(cafile=pair[0]))
    sender.write("before", {})
    server.wait(1)
    server.close()
    for number in range(3):
        sender.write(f"line {number}", {})
    again = Server(pair[0], pair[1], server.port)
    messages = again.wait(3)
    assert [text.rpartition(" - ")[2] for text in messages] == ["line 0", "line 1", "line 2"]
    again.close()


def test_a_server_without_a_trusted_certificate_gets_nothing(pair, tmp_path, capfd):
    (tmp_path / "other").mkdir()
    other = self_signed_pair(tmp_path / "other", "localhost")
    server = Server(*pair)
    sender = Sender("localhost", server.port, ssl.create_default_context(cafile=other[0]))
    sender.write("a secret place", {})
    sender.flush(1.0)
    assert server.messages == []
    server.close()


def test_a_long_line_is_cut():
    packed = message("x" * 100_000, {}, "worker-1", "host", 1)
    length, _, rest = packed.partition(b" ")
    assert int(length) == len(rest) < 66_000


def test_a_file_of_authorities_that_cannot_be_read_is_named(tmp_path, pair):
    flags = {"log_to": "syslog+tls://localhost:6514"}
    load_settings(flags | {"log_syslog_ca": str(pair[0])}, {})
    (tmp_path / "empty.pem").touch()
    for name in ("none.pem", "empty.pem"):
        with pytest.raises(ConfigurationError, match=f"log-syslog-ca: .*{name}"):
            load_settings(flags | {"log_syslog_ca": str(tmp_path / name)}, {})
