"""What `serve` prints on a terminal, and where nobody reads it."""

from pathlib import Path

from batchseal import __version__
from batchseal.processes.greeting import greet
from batchseal.settings.options import Settings

SWAGGER, DOCUMENTATION = "/base/swagger-ui.html", "/base/docs"


def printed(capsys, settings, *, is_terminal=True, first_page=Path("/nowhere")):
    greet(settings, SWAGGER, DOCUMENTATION, is_terminal=is_terminal, first_page=first_page)
    return capsys.readouterr().err


def test_a_trial_says_where_the_secret_of_the_sandbox_is(capsys):
    settings = Settings(
        sandbox_signs=True, services_path="/etc/batchseal/client-services-config.json", temp_folder=Path("/var/t")
    )
    said = printed(capsys, settings)
    for text in (f"Batchseal {__version__}", "http://127.0.0.1:8080/base/swagger-ui.html", "for trials only", "/var/t"):
        assert text in said
    assert "in /etc/batchseal/client-services-config.json" in said and "Management" not in said
    assert max(map(len, said.splitlines())) < 100


def test_a_real_service_says_who_signs(capsys):
    settings = Settings(service_domain="https://sign.example", management_port=9090, tls_certificate="c", tls_key="k")
    said = printed(capsys, settings)
    assert "https://sign.example" in said and "https://127.0.0.1:8080" in said
    assert "http://127.0.0.1:9090/metrics" in said and "Secret" not in said


def test_the_documentation_is_named_where_it_is_installed(capsys, tmp_path):
    page = tmp_path / "index.html"
    assert DOCUMENTATION not in printed(capsys, Settings(), first_page=page)
    page.touch()
    assert "http://127.0.0.1:8080" + DOCUMENTATION in printed(capsys, Settings(), first_page=page)


def test_where_nobody_reads_it_there_is_one_line(capsys):
    assert printed(capsys, Settings(), is_terminal=False) == "batchseal: ready at http://127.0.0.1:8080\n"
