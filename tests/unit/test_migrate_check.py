"""`batchseal migrate check`: what it reads in the original's command line and work folder, and what it says of them."""

import json
import shlex
from pathlib import Path

import pytest

from batchseal.commands import migrate
from batchseal.commands.migration.docker_line import Mount, read_docker_line
from batchseal.errors import ConfigurationError

# The original's own, with everything that its manual names.
ORIGINAL = r"""docker run -d --memory=4g --ulimit nofile=4096:4096 \
    --mount type=volume,source=vol1,target=/tmp \
    --mount type=bind,source={work},target=/home \
    -p 8081:8080 -e TZ=Europe/Lisbon vendor/einvoice-integration-client:2.3 \
    --server.host.port=192.168.1.1:8081 \
    --einvoice-integration-client.service.domain=https://saas.example/ \
    --einvoice-integration-client.rest.provider.proxy.hostname=proxy \
    --einvoice-integration-client.rest.provider.proxy.port=3128 \
    --einvoice-integration-client.scheduler.task.handleSignatureTasks.lock-time=1440 \
    --spring.main.banner-mode=off"""


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "client-services-config.json").write_text(json.dumps({"A": {"secret": "a secret of some length"}}))
    folder.chmod(0o755)
    (folder / "client-services-config.json").chmod(0o644)
    return folder


Said = dict[str, list[str]]


def checked(capsys: pytest.CaptureFixture[str], folder: Path, line: str, *flags: str) -> tuple[int, Said, str]:
    """The exit code, what was said by kind, and the new command line."""
    file = folder / "line.sh"
    file.write_text(line)
    code = migrate.run(["check", f"--docker-line={file}", *flags])
    lines, _, new = capsys.readouterr().out.partition("\nIn its place:\n\n")
    said: Said = {"carries over": [], "changes": [], "missing": []}
    for text in lines.splitlines():
        kind = next(kind for kind in said if text.startswith(kind))
        said[kind].append(text.removeprefix(kind).strip())
    return code, said, new


def has(texts: list[str], *words: str) -> bool:
    return any(all(word in text for word in words) for text in texts)


def test_the_line_of_the_original(capsys: pytest.CaptureFixture[str], tmp_path: Path, work: Path) -> None:
    code, said, new = checked(capsys, tmp_path, ORIGINAL.format(work=work))
    carried, changes = said["carries over"], said["changes"]
    assert has(carried, "port 8081", "8080") and has(carried, "--memory of 4096 MiB")
    assert has(carried, "--server.host.port=192.168.1.1:8081", "--advertised-address")
    assert has(carried, "service.domain=https://saas.example/", "--service-domain")
    assert has(carried, "proxy.port=3128") and has(carried, "the client services in", "(1)")
    assert has(changes, "vendor/einvoice-integration-client:2.3") and has(changes, "the volume vol1", "new volume")
    assert has(changes, "--spring.main.banner-mode", "not known") and has(changes, "TZ", "not read")
    assert has(changes, "--stop-timeout")
    # What is missing is only what this release does not have.
    assert all("not available yet" in text for text in said["missing"]), said["missing"]
    assert code == (1 if said["missing"] else 0)
    words = shlex.split(new.replace("\\\n", " "))
    again = read_docker_line(new)
    assert words[:2] == ["docker", "run"] and again.image == "batchseal"
    assert again.mount_at("/tmp") == Mount("batchseal-data", "/tmp") and again.mount_at("/home") == Mount(
        str(work), "/home"
    )
    assert "--spring.main.banner-mode=off" not in words and "--server.host.port=192.168.1.1:8081" in words


def test_the_container_has_another_name_than_the_one_that_is_kept(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    _, said, new = checked(capsys, tmp_path, "docker run --name signstash -p 8081:8080 i")
    assert has(said["changes"], "signstash becomes batchseal")
    assert "--name=batchseal" in shlex.split(new.replace("\\\n", " ")) and "signstash" not in new


def test_the_new_line_has_a_name_and_the_memory_as_it_stood_there(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    _, _, new = checked(capsys, tmp_path, "docker run -m 4g -p 8081:8080 i")
    assert {"--name=batchseal", "--memory=4g"} <= set(shlex.split(new.replace("\\\n", " ")))


def test_an_address_for_jdbc_is_none_of_this_service(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, said, _ = checked(capsys, tmp_path, "docker run i --database.url=jdbc:postgresql://u:HIDDEN@db/x")
    assert code == 1 and "HIDDEN" not in repr(said)
    assert has(said["missing"], "--database.url", "postgresql://USER:PASSWORD@HOST/NAME")


@pytest.mark.parametrize("flag", ["", "--hot.folder.enabled=true"])
def test_hot_folders_that_nothing_switches_on_are_said(
    flag: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, work: Path
) -> None:
    services = {"A": {"secret": "a secret of some length", "inputFolder": "/hot/in", "outputFolder": "/hot/out"}}
    (work / "client-services-config.json").write_text(json.dumps(services))
    _, said, _ = checked(capsys, tmp_path, f"docker run i {flag}", f"--work-folder={work}")
    assert has(said["changes"], "user 10001", "write", "must not watch")
    assert has(said["changes"], "not switched on") != bool(flag)


def test_what_a_bare_line_lacks(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, said, _ = checked(capsys, tmp_path, "docker run --memory 256m image")
    missing = said["missing"]
    for words in (
        ("at /home",),
        ("at /tmp",),
        ("256 MiB",),
        ("service.domain",),
        ("--server.host.port",),
        ("-p 8080:8080",),
    ):
        assert has(missing, *words), words
    assert code == 1


def test_secrets_are_not_shown(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    flags = "--einvoice-integration-client.rest.provider.proxy.password=HIDDEN1 --proxy-password HIDDEN2"
    _, said, new = checked(
        capsys,
        tmp_path,
        f"docker run -e MY_SECRET=HIDDEN3 -e BATCHSEAL_PROXY_PASSWORD=HIDDEN4 -e KEY_PASSPHRASE=HIDDEN5 i {flags} -Dkey=HIDDEN6",
    )
    assert "HIDDEN" not in repr(said) + new and "--env=MY_SECRET" in new and "'-Dkey'" in repr(said)


def test_deleting_everything_is_left_out(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    _, said, new = checked(capsys, tmp_path, "docker run i --force.database.recreate=true --server.host.port h:1")
    assert has(said["changes"], "--force.database.recreate", "deletes everything")
    assert "recreate" not in new and "--server.host.port=h:1" in new


def test_settings_that_do_not_go_together_are_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    _, said, _ = checked(capsys, tmp_path, "docker run i --server.host.port=nonsense")
    assert has(said["missing"], "does not start", "--server.host.port")


def test_the_work_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path, work: Path) -> None:
    services = {
        "A": {"secret": "short", "inputFolder": "in", "outputFolder": "in/out"},
        "B": {"secret": "another secret of length", "inputFolder": "b"},
    }
    (work / "client-services-config.json").write_text(json.dumps(services))
    (work / "client-services-config.json").chmod(0o600)
    (work / "in").mkdir()
    for name in ("one.pdf", "two.pdf"):
        (work / "in" / name).write_bytes(b"%PDF")
    (work / "signstash.mv.db").touch()
    (work / "notes.txt").touch()
    code = migrate.run(["check", f"--work-folder={work}"])
    said = capsys.readouterr().out.splitlines()
    assert code == 1
    assert has(said, "the client services in", "(2)") and has(said, "short: A") and has(said, "2 files wait", "of A")
    assert has(said, "must not lie in each other", "inputFolder of A and outputFolder of A")
    assert has(said, "signstash.mv.db", "migrate references") and has(said, "not read here: notes.txt")
    assert has(said, "missing", "user 10001 cannot read", f"chmod o+rX {work}/client-services-config.json")
    assert has(said, "hot folders of B")


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "does not exist"), ("{", "line 1"), ('{"A": {}}', "has no secret"), ("[]", "is not an object")],
)
def test_a_file_that_cannot_be_used(
    capsys: pytest.CaptureFixture[str], work: Path, content: str | None, said: str
) -> None:
    file = work / "client-services-config.json"
    file.write_text(content) if content is not None else file.unlink()
    assert migrate.run(["check", f"--work-folder={work}"]) == 1
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "mounts"),
    [
        ("docker run -v /a:/home:ro -v data:/tmp i", [Mount("/a", "/home", True), Mount("data", "/tmp")]),
        ("podman run -v/a:/home --tmpfs /tmp:size=1g i", [Mount("/a", "/home"), Mount("", "/tmp")]),
        ("sudo docker container run --mount=type=bind,src=/a,dst=/home,readonly i", [Mount("/a", "/home", True)]),
        ("/usr/bin/docker create --mount type=volume,target=/tmp i", [Mount("", "/tmp")]),
    ],
)
def test_mounts(line: str, mounts: list[Mount]) -> None:
    assert read_docker_line(line).mounts == mounts


def test_options_with_and_without_values() -> None:
    text = "docker run -it --rm --name x --restart=always -m 1G -p127.0.0.1:80:8080/tcp --init i:1 -e not-an-option --a.b c"
    line = read_docker_line(text)
    assert (line.image, line.arguments) == ("i:1", ["-e", "not-an-option", "--a.b", "c"])
    assert line.ports == [("127.0.0.1:80", "8080")] and line.memory_bytes == 1 << 30
    assert line.option("--restart") == "always" and line.option("--name") == "x"


@pytest.mark.parametrize(
    "text", ["", "docker ps", "docker run", "docker run -d --rm", "docker run 'i", "ls -l", "docker run -m x i"]
)
def test_what_is_no_docker_line(text: str) -> None:
    with pytest.raises(ConfigurationError, match="docker line"):
        read_docker_line(text)


@pytest.mark.parametrize("arguments", [[], ["check"], ["references"], ["contract"], ["other"]])
def test_wrong_use(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        migrate.run(arguments)
    assert ended.value.code == (0 if not arguments else 2)
