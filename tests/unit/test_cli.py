"""Flags, help and exit codes of the command line."""

import subprocess
import sys
from pathlib import Path

import pytest

from batchseal import __version__, cli, commands
from batchseal.commands import settings_flags
from batchseal.settings.load import OPTIONS, Settings, environment_names

PREFIX = "--einvoice-integration-client."


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OPTIONS:
        for variable in environment_names(name):
            monkeypatch.delenv(variable, raising=False)


def settings(*arguments: str) -> Settings:
    return settings_flags.read_settings("serve", "", arguments)


@pytest.mark.parametrize("name", OPTIONS)
def test_every_setting_has_its_flags_and_stands_in_the_help(name: str) -> None:
    text = " ".join(settings_flags.settings_parser("serve", "").format_help().split())
    for flag in settings_flags.flags_of(name):
        assert f"{flag} " in text or f"{flag}, " in text
    assert ", ".join(dict.fromkeys(environment_names(name))) in text


@pytest.mark.parametrize(
    ("arguments", "name", "value"),
    [
        (["--port=9"], "port", 9),
        (["--port", "9"], "port", 9),
        (["--server.host.port=h:9"], "advertised_address", "h:9"),
        ([PREFIX + "service.domain=https://x/"], "service_domain", "https://x/"),
        ([PREFIX + "service.domain", "https://x"], "service_domain", "https://x"),
        ([PREFIX + "rest.provider.proxy.hostname=p"], "proxy_hostname", "p"),
        ([PREFIX + "rest.provider.proxy.port=3128"], "proxy_port", 3128),
        ([PREFIX + "hot.folder.documents.processing.threshold=7"], "hot_folder_threshold", 7),
        (
            [PREFIX + "scheduler.task.processHotFoldersByDocumentThreshold.cron-expression=0 0/1 * * * ?"],
            "hot_folder_cron",
            "0 0/1 * * * ?",
        ),
        ([PREFIX + "scheduler.task.handleSignatureTasks.lock-time=3"], "hot_folder_lock_minutes", 3),
        (["--compat.vendor-status-codes"], "compat_vendor_status_codes", True),
        (["--compat.vendor-status-codes=true"], "compat_vendor_status_codes", True),
        (["--compat.vendor-status-codes=True"], "compat_vendor_status_codes", True),
        (["--compat-vendor-status-codes", "False"], "compat_vendor_status_codes", False),
        (["--hot.folder.enabled", "--port=9"], "hot_folder_enabled", True),
        (["--force.database.recreate=false"], "force_database_recreate", False),
        (["--port=8", "--port=9"], "port", 9),
        (["--sandbox.credential=p256"], "sandbox_credential", "p256"),
    ],
)
def test_flags_in_all_their_spellings(arguments: list[str], name: str, value: object) -> None:
    assert getattr(settings(*arguments), name) == value


@pytest.mark.parametrize("name", OPTIONS)
def test_an_empty_value_is_the_same_as_none(name: str) -> None:
    for flag in settings_flags.flags_of(name):
        assert settings(f"{flag}=") == settings()


@pytest.mark.parametrize(
    ("arguments", "left", "unknown"),
    [
        (["--a.b=c", "--port=9"], ["--port=9"], ["--a.b"]),
        (["--a.b", "c", "--port=9"], ["--port=9"], ["--a.b"]),
        (["--a.b", "--port=9"], ["--port=9"], ["--a.b"]),
        (["--a.b", "--c.d=e", "f"], ["f"], ["--a.b", "--c.d"]),
        (["--spring.x=a b"], [], ["--spring.x"]),
        (["--server.host.port", "h:1"], ["--server.host.port", "h:1"], []),
        (["--work-folder=/a.b"], ["--work-folder=/a.b"], []),
    ],
)
def test_unknown_dotted_flags_are_taken_out(arguments: list[str], left: list[str], unknown: list[str]) -> None:
    assert settings_flags.split_unknown_dotted(arguments) == (left, unknown)


def test_unknown_dotted_flags_are_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    assert settings("--logging.level.root=DEBUG", "--port=9").port == 9
    assert "--logging.level.root is not known" in capsys.readouterr().err


def test_the_audit_warns_of_unknown_dotted_flags_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["audit", "verify", "--logging.level.root=DEBUG", str(tmp_path / "missing")]) == 2
    said = capsys.readouterr().err
    assert "--logging.level.root is not known" in said
    assert "No such file" in said


def test_an_export_of_the_audit_trail_ignores_no_file(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["audit", "export", "trail.jsonl"])
    assert ended.value.code == 2
    assert "--out" in capsys.readouterr().err


@pytest.mark.parametrize(("command", "used"), [("probe", "--port"), ("audit", "--temp-folder")])
def test_a_command_shows_only_the_settings_that_it_uses(
    command: str, used: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    said = capsys.readouterr().out
    assert f"  {used} " in said
    assert "--max-body-bytes" not in said
    assert "Exit code: 0" in said


def test_a_flag_that_is_not_shown_is_accepted() -> None:
    arguments = ["--max-body-bytes=7", "--port=9"]
    read = settings_flags.read_settings("probe", "", arguments, used=("port",))
    assert (read.max_body_bytes, read.port) == (7, 9)


@pytest.mark.parametrize("arguments", [["--prot=9"], ["stray"], ["--por=9"]])
def test_other_unknown_flags_end_it(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        settings(*arguments)
    assert ended.value.code == 2
    assert "unrecognized" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "said"), [("--prot=9", "did you mean --port?"), ("--zzzz", "--help` lists the flags")]
)
def test_an_unknown_flag_is_answered_with_one_like_it(
    given: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        settings(given)
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--port=x"], "--port: 'x' is not a whole number"),
        (["--port=70000"], "70000 is not a port"),
        (["--sandbox.credential=dsa"], "'dsa' is not one of rsa2048"),
        (["--hot.folder.enabled=maybe"], "neither true nor false"),
        (["--service-domain=x"], "must begin with https://"),
        (["--server.host.port=x"], "HOST:PORT"),
    ],
)
def test_bad_values_are_told_without_a_trace(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["serve", *arguments]) == 2
    message = capsys.readouterr().err
    assert message.startswith("batchseal: ")
    assert said in message


def test_a_file_that_cannot_be_read_is_told_without_a_trace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "one.pdf").write_bytes(b"%PDF")
    out = tmp_path / "file" / "signed"  # no folder can be made below a file
    flags = ["--client-id=a", f"--secret-file={tmp_path}/file", f"--out={out}", "--url=http://127.0.0.1:9"]
    (tmp_path / "file").write_text("secret")
    assert cli.main(["sign", str(tmp_path / "one.pdf"), *flags]) == 2
    assert capsys.readouterr().err == f"batchseal: {out}: Not a directory\n"


def test_every_command_is_a_file_of_its_own_in_the_table() -> None:
    shared = {"__init__", "caller_secret", "databases", "exports", "messages", "settings_flags"}
    files = {path.stem for path in Path(commands.__file__).parent.glob("*.py")}
    assert files - shared == set(cli.COMMANDS)


@pytest.mark.parametrize("command", sorted(cli.COMMANDS))
def test_each_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    assert ended.value.code == 0
    assert f"batchseal {command}" in capsys.readouterr().out


def test_version_and_the_list_of_commands(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--version"], ["--help"], []):
        with pytest.raises(SystemExit) as ended:
            cli.main(arguments)
        assert ended.value.code == 0
    said = capsys.readouterr().out
    assert f"batchseal {__version__}" in said
    assert all(f"\n    {command} " in said for command in cli.COMMANDS)


def test_an_unknown_command_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["sing"])
    assert ended.value.code == 2
    assert "invalid choice" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["serve", "probe", "size"])
def test_a_small_command_loads_nothing_heavy(command: str) -> None:
    """`serve` must start fast and its process must stay small; a container runs `probe` every few seconds."""
    code = f"import sys, batchseal.cli, batchseal.commands.{command}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"asyncio", "aiohttp", "asyncpg", "blacksheep", "granian", "cryptography", "pyhanko", "rich", "msgspec"}
    assert not heavy & set(loaded)
    others = {f"batchseal.commands.{other}" for other in cli.COMMANDS if other != command}
    assert not others & set(loaded)


@pytest.mark.parametrize("module", ["app", "processes.supervisor", "sandbox.__main__"])
def test_no_process_of_the_service_carries_a_console_library(module):
    code = f"import sys, batchseal.{module}; print([m for m in ('rich', 'pygments') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
