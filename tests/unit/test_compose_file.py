"""compose.yaml: it fits the compose specification, and the cluster in it fits together."""

import re
import subprocess
from typing import Any

import pytest
import yaml
from tests.support.deployment import ROOT, tool, unknown_flags

from batchseal.settings.load import OPTIONS, environment_names

FILE = ROOT / "compose.yaml"


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(FILE.read_text("utf-8"))["services"]
    return found


def test_it_fits_the_specification() -> None:
    command = [tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(FILE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout


def test_without_the_profile_there_is_one_instance(services: dict[str, Any]) -> None:
    assert {name for name, one in services.items() if "profiles" not in one} == {"batchseal", "database"}
    profiles = {tuple(one["profiles"]) for one in services.values() if "profiles" in one}
    assert profiles == {("cluster",), ("hot-folders",)}


def test_hot_folders_are_written_to_by_the_instance_that_takes_the_place_of_the_other(services: dict[str, Any]) -> None:
    alone, other = services["batchseal"], services["hot-folders"]
    assert (other["ports"], other["image"]) == (alone["ports"], alone["image"]), "only one of them can run"
    assert alone["environment"].items() < other["environment"].items()
    assert other["environment"]["BATCHSEAL_HOT_FOLDER_ENABLED"] == "true"
    assert set(other["volumes"]) - set(alone["volumes"]) == {"./hot-folders:/hot-folders"}
    assert "temp:/tmp" in alone["volumes"], "operations go on in the other one"
    assert "./work:/home:ro" in other["volumes"]


def test_the_operators_page_is_one_of_this_machine(services: dict[str, Any]) -> None:
    alone = services["batchseal"]
    assert all(port.startswith("127.0.0.1:") for port in alone["ports"])
    assert alone["ports"][1].endswith(f":{alone['environment']['BATCHSEAL_OPERATOR_PORT']}")


def test_the_cluster_fits_together(services: dict[str, Any]) -> None:
    instances = [services["batchseal-1"], services["batchseal-2"]]
    first, second = ({key: value for key, value in one.items() if key != "volumes"} for one in instances)
    assert first == second, "the instances differ in nothing but their volumes"
    assert not {one["volumes"][0].partition(":")[0] for one in instances} & {"temp"}
    assert instances[0]["volumes"][0] != instances[1]["volumes"][0]
    assert set(services["balancer"]["depends_on"]) == {"batchseal-1", "batchseal-2"}
    assert not any("ports" in one for one in instances), "callers come by the balancer"
    # HAProxy's configuration names the instances as they are called here, and the port of the image.
    servers = re.findall(
        r"^    server \S+ (\S+)$", (ROOT / "container" / "haproxy.cfg").read_text("utf-8"), re.MULTILINE
    )
    assert servers == ["batchseal-1:8080", "batchseal-2:8080"]
    nginx = re.findall(r"server (batchseal\S+)", (ROOT / "container" / "nginx.conf").read_text("utf-8"))
    assert nginx == servers
    (store,) = (one.partition("=")[2] for one in first["command"] if one.startswith("--payload-store="))
    assert store == "s3://payloads/batchseal?endpoint=http://store:8333"
    assert "s3.bucket.create -name payloads" in services["bucket"]["command"][0]
    for needed in ("bucket", "database"):
        assert needed in first["depends_on"]


def test_all_that_is_ours_is_restricted_and_has_time_to_end(services: dict[str, Any]) -> None:
    for name in ("batchseal", "hot-folders", "batchseal-1", "batchseal-2", "balancer"):
        one = services[name]
        assert (one["read_only"], one["cap_drop"], one["security_opt"]) == (True, ["ALL"], ["no-new-privileges:true"])
        assert one["mem_limit"]
        assert one["logging"]["options"].keys() == {"max-size", "max-file"}
        assert name == "balancer" or one["stop_grace_period"] == "120s"


@pytest.mark.skipif("drain_seconds" not in OPTIONS, reason="this release lacks an option that the cluster has")
def test_flags_and_variables_are_those_of_the_service(services: dict[str, Any]) -> None:
    known = {name for option in OPTIONS for name in environment_names(option)}
    for name in ("batchseal", "hot-folders", "batchseal-1"):
        assert unknown_flags(services[name]["command"]) == set()
        assert set(services[name]["environment"]) <= known
