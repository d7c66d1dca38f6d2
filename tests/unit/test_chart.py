"""The chart, rendered by Helm's own library: an upgrade keeps what Kubernetes lets nobody change, and instances fit together.

Each object that is rendered here was judged by the schemas of Kubernetes (tests/support/chart_tools.py). test_chart_values.py is
about what else an operator can ask for.
"""

import json
from typing import Any

import pytest
from tests.support.deployment import ROOT, Objects, refused, rendered, unknown_flags

from batchseal.settings.load import OPTIONS

# What the chart of release 0.1 rendered for the same release, and what it rendered later, when it knew several instances.
BEFORE = json.loads((ROOT / "tests" / "fixtures" / "chart_0_1.json").read_text("utf-8"))
SINCE = json.loads((ROOT / "tests" / "fixtures" / "chart_instances.json").read_text("utf-8"))
EVERYTHING = {
    "advertisedAddress": "sign.example:443",
    "serviceDomain": "https://s.example",
    "clientServicesSecret": "clients",
    "databaseSecret": "database",
    "volume": {"storageClass": "fast"},
}
# Everything else in the specification of a StatefulSet is refused with "updates to statefulset spec ... are forbidden",
# the labels of its claims included.
MAY_CHANGE = {"replicas", "ordinals", "template", "updateStrategy", "persistentVolumeClaimRetentionPolicy"}
MAY_CHANGE |= {"minReadySeconds", "revisionHistoryLimit"}
S3 = {"payloadStore": "s3://payloads/seals?endpoint=https://store.example", "databaseSecret": "database"}
SHARED = {"payloadStore": "shared:/payloads", "sharedVolumeClaim": "documents", "databaseSecret": "database"}
# What `helm test` makes and removes again.
HOOKS = {("Pod", "seals-test")}
# Options that are given to the service only by the chart and compose.yaml, each of which has tests of its own elsewhere.
OPTIONS_OF_INSTANCES = {"drain_seconds", "token_key_file", "database_pooler", "database_url_file", "payload_store"}


def one(objects: Objects, kind: str, name: str = "seals") -> dict[str, Any]:
    (found,) = (each for each in objects if (each["kind"], each["metadata"]["name"]) == (kind, name))
    return found


def kinds(objects: Objects) -> set[tuple[str, str]]:
    return {(each["kind"], each["metadata"]["name"]) for each in objects}


def pod(objects: Objects, kind: str) -> dict[str, Any]:
    spec: dict[str, Any] = one(objects, kind)["spec"]["template"]["spec"]
    return spec


def arguments(objects: Objects, kind: str) -> list[str]:
    (container,) = pod(objects, kind)["containers"]
    found: list[str] = container["args"]
    return found


# --- an upgrade from release 0.1 ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("values", "before"), [({}, "defaults"), (EVERYTHING, "everything")])
def test_an_upgrade_keeps_names_selectors_and_claims(values: dict[str, Any], before: str) -> None:
    now = rendered(**values)
    assert kinds(BEFORE[before]) <= kinds(now), "an object that is missing would be deleted"
    for old in BEFORE[before]:
        new = one(now, old["kind"], old["metadata"]["name"])
        assert new["apiVersion"] == old["apiVersion"]
        assert old["metadata"]["labels"].items() <= new["metadata"]["labels"].items()
    old, new = one(BEFORE[before], "StatefulSet")["spec"], one(now, "StatefulSet")["spec"]
    assert {key: value for key, value in new.items() if key not in MAY_CHANGE} == {
        key: value for key, value in old.items() if key not in MAY_CHANGE
    }
    assert new["replicas"] == old["replicas"] == 1
    service = one(now, "Service")["spec"]
    assert service["selector"].items() <= new["template"]["metadata"]["labels"].items()
    assert service["selector"] == one(BEFORE[before], "Service")["spec"]["selector"]
    assert "clusterIP" not in service, "a service that has an address never becomes headless"


@pytest.mark.parametrize(("values", "before"), [({}, "defaults"), (EVERYTHING, "everything")])
def test_an_upgrade_keeps_where_the_service_finds_its_files(values: dict[str, Any], before: str) -> None:
    now, earlier = pod(rendered(**values), "StatefulSet"), pod(BEFORE[before], "StatefulSet")
    mounts = {each["name"]: each for each in now["containers"][0]["volumeMounts"]}
    for each in earlier["containers"][0]["volumeMounts"]:
        assert mounts[each["name"]] == each
    assert now["securityContext"] == earlier["securityContext"]
    assert set(earlier["containers"][0]["args"]) <= set(now["containers"][0]["args"])


@pytest.mark.parametrize("before", SINCE)
def test_an_upgrade_changes_nothing_that_kubernetes_keeps(before: str) -> None:
    now = rendered(**SINCE[before]["values"])
    for old in SINCE[before]["objects"]:
        new = one(now, old["kind"], old["metadata"]["name"])
        assert new["apiVersion"] == old["apiVersion"]
        assert old["metadata"]["labels"].items() <= new["metadata"]["labels"].items()
        match old["kind"]:
            case "StatefulSet":
                kept = {key for key in old["spec"].keys() | new["spec"].keys() if key not in MAY_CHANGE}
                assert {key: new["spec"].get(key) for key in kept} == {key: old["spec"].get(key) for key in kept}
            case "Deployment":
                assert new["spec"]["selector"] == old["spec"]["selector"]
                assert new["spec"]["replicas"] == old["spec"]["replicas"]
            case "Service":
                assert new["spec"]["selector"] == old["spec"]["selector"]
                assert new["spec"].get("clusterIP") == old["spec"].get("clusterIP")
            case "PodDisruptionBudget":
                assert new["spec"] == old["spec"]
        if old["kind"] in ("StatefulSet", "Deployment"):
            pod_before, pod_now = old["spec"]["template"], new["spec"]["template"]
            assert pod_before["metadata"]["labels"].items() <= pod_now["metadata"]["labels"].items()
            (had,), (has,) = pod_before["spec"]["containers"], pod_now["spec"]["containers"]
            assert sorted(has["args"]) == sorted(had["args"]), "the service is started as before"
            assert by_name(has["volumeMounts"]) == by_name(had["volumeMounts"])
            assert by_name(pod_now["spec"].get("volumes", [])) == by_name(pod_before["spec"].get("volumes", []))
            for same in ("envFrom", "env", "ports", "securityContext", "resources"):
                assert has.get(same) == had.get(same)
            assert has["image"].partition(":")[0] == had["image"].partition(":")[0], "only the version is another one"
    assert kinds(now) - {(each["kind"], each["metadata"]["name"]) for each in SINCE[before]["objects"]} <= HOOKS


def by_name(parts: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {part["name"]: part for part in parts}


# --- one instance, and several -----------------------------------------------------------------------------------------


def test_one_instance_keeps_payloads_on_its_volume() -> None:
    now = rendered()
    assert kinds(now) - HOOKS == {("StatefulSet", "seals"), ("Service", "seals"), ("Service", "seals-instances")}
    assert pod(now, "StatefulSet")["terminationGracePeriodSeconds"] == 120
    assert "--drain-seconds=10" in arguments(now, "StatefulSet")
    assert not any(each.startswith("--payload-store") for each in arguments(now, "StatefulSet"))


@pytest.mark.parametrize("store", [S3, SHARED], ids=["s3", "shared"])
def test_several_instances_are_a_deployment_with_a_cache_of_their_own(store: dict[str, Any]) -> None:
    now = rendered(**store, replicas=3)
    assert ("StatefulSet", "seals") not in kinds(now)
    deployment, spec = one(now, "Deployment")["spec"], pod(now, "Deployment")
    assert deployment["replicas"] == 3
    volumes = {each["name"]: each for each in spec["volumes"]}
    assert volumes["temp"]["emptyDir"] == {"sizeLimit": "8Gi"}
    assert ("persistentVolumeClaim" in volumes.get("payloads", {})) == ("sharedVolumeClaim" in store)
    assert {each["name"] for each in spec["containers"][0]["volumeMounts"]} == volumes.keys()
    assert spec["terminationGracePeriodSeconds"] == 120
    assert f"--payload-store={store['payloadStore']}" in arguments(now, "Deployment")
    assert "--database-url-file=/run/secrets/batchseal/database/url" in arguments(now, "Deployment")
    labels = deployment["template"]["metadata"]["labels"]
    assert deployment["selector"]["matchLabels"].items() <= labels.items()
    for service in ("seals", "seals-instances"):
        assert one(now, "Service", service)["spec"]["selector"].items() <= labels.items()
    assert one(now, "Service", "seals-instances")["spec"]["clusterIP"] == "None"


@pytest.mark.parametrize(("values", "kind"), [({}, "StatefulSet"), (S3, "Deployment")])
def test_hot_folders_are_a_claim_that_is_written_to(values: dict[str, Any], kind: str) -> None:
    assert "--hot-folder-enabled=true" not in arguments(rendered(**values), kind)
    now = rendered(**values, hotFoldersClaim="folders", clientServicesSecret="clients")
    spec = pod(now, kind)
    assert "--hot-folder-enabled=true" in arguments(now, kind)
    (volume,) = (each for each in spec["volumes"] if each["name"] == "hot-folders")
    assert volume["persistentVolumeClaim"] == {"claimName": "folders"}
    mounts = {each["name"]: each for each in spec["containers"][0]["volumeMounts"]}
    assert mounts["hot-folders"] == {"name": "hot-folders", "mountPath": "/hot-folders"}
    assert mounts["work"]["readOnly"], "the rest of the work folder stays as it is"


def test_a_disruption_budget_is_for_several_instances_alone() -> None:
    assert ("PodDisruptionBudget", "seals") not in kinds(rendered())
    assert ("PodDisruptionBudget", "seals") not in kinds(rendered(**S3, replicas=1))
    now = rendered(**S3, replicas=2)
    budget = one(now, "PodDisruptionBudget")["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["selector"] == one(now, "Deployment")["spec"]["selector"]


def test_secrets_are_files_that_are_mounted() -> None:
    now = rendered(
        **S3, payloadKeysSecret="keys", tokenKeysSecret="tokens", storeSecret="store", clientServicesSecret="c"
    )
    spec, flags = pod(now, "Deployment"), arguments(now, "Deployment")
    mounts = {each["name"]: each["mountPath"] for each in spec["containers"][0]["volumeMounts"]}
    for volume in spec["volumes"]:
        if secret := volume.get("secret"):
            assert secret["defaultMode"] == 0o440
            assert mounts[volume["name"]]
    for flag in ("--payload-key-file", "--token-key-file", "--database-url-file"):
        (path,) = (each.partition("=")[2] for each in flags if each.startswith(flag))
        assert any(path.startswith(f"{folder}/") for folder in mounts.values()), path
    assert spec["containers"][0]["envFrom"] == [{"secretRef": {"name": "store"}}]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"replicas": 2}, "replicas"),
        ({"replicas": 2, "databaseSecret": "d", "payloadStore": "local"}, "replicas"),
        ({"payloadStore": "s3://a/b"}, "databaseSecret"),
        ({"payloadStore": "shared:/payloads", "databaseSecret": "d"}, "sharedVolumeClaim"),
    ],
)
def test_a_release_that_would_lose_documents_is_refused(values: dict[str, Any], said: str) -> None:
    assert said in refused(**values)


@pytest.mark.skipif(
    not OPTIONS.keys() >= OPTIONS_OF_INSTANCES, reason="this release lacks options that the chart gives"
)
def test_every_flag_is_one_of_the_service() -> None:
    everything = {"payloadKeysSecret": "k", "tokenKeysSecret": "t", "sandbox": True, "databasePooler": "transaction"}
    for values, kind in ((EVERYTHING, "StatefulSet"), ({**EVERYTHING, **S3, **everything}, "Deployment")):
        assert unknown_flags(arguments(rendered(**values), kind)) == set()
    assert unknown_flags(["--no-such-flag=1"]) == {"--no-such-flag"}


# --- what an operator sees ---------------------------------------------------------------------------------------------


def test_the_dashboard_and_the_alert_rules_are_installed_where_they_are_wanted() -> None:
    assert {"ConfigMap", "PrometheusRule"}.isdisjoint(kind for kind, _ in kinds(rendered()))
    now = rendered(dashboard=True, alertRules=True)
    config = one(now, "ConfigMap", "seals-dashboard")
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert config["data"]["batchseal.json"] == (ROOT / "chart" / "files" / "dashboard.json").read_text("utf-8")
    (group,) = one(now, "PrometheusRule")["spec"]["groups"]
    assert len(group["rules"]) > 10 and all(
        {"alert", "expr", "labels", "annotations"} <= rule.keys() for rule in group["rules"]
    )


def test_the_management_port_is_one_of_the_pod_alone() -> None:
    now = rendered(managementPort=9090)
    flags, (container,) = arguments(now, "StatefulSet"), pod(now, "StatefulSet")["containers"]
    assert {"--management-port=9090", "--management-host=0.0.0.0"} <= set(flags)
    assert {"name": "management", "containerPort": 9090} in container["ports"]
    for each in now:
        if each["kind"] == "Service":
            assert all(port["port"] != 9090 for port in each["spec"]["ports"])
