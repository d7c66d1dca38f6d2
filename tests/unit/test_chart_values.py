"""What operators may ask of the chart: twelve files of values as examples, values that are refused, and what comes of some."""

import json
from pathlib import Path
from typing import Any

import pytest
from harness.chart_readme import CHART
from tests.support.chart_examples import container, example, one, pod, workload
from tests.support.deployment import refused, release, rendered, unknown_flags

from batchseal.settings.load import OPTIONS

EXAMPLES = sorted((CHART / "ci").glob("*-values.yaml"))
SCHEMA = json.loads((CHART / "values.schema.json").read_text("utf-8"))
STANDARD = {
    "app.kubernetes.io/name",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/version",
    "app.kubernetes.io/part-of",
    "app.kubernetes.io/managed-by",
    "helm.sh/chart",
}


# --- all examples ------------------------------------------------------------------------------------------------------


def test_there_are_twelve_examples() -> None:
    assert len(EXAMPLES) == 12


@pytest.mark.parametrize("name", [path.name.removesuffix("-values.yaml") for path in EXAMPLES])
def test_an_example_is_what_kubernetes_takes(name: str) -> None:
    found = example(name)
    assert found["lint"]["errors"] == [] and all(said["severity"] < 2 for said in found["lint"]["messages"])
    objects = found["objects"]
    flags = container(objects)["args"]
    assert unknown_flags(flags) == set() and len({flag.partition("=")[0] for flag in flags}) == len(flags)
    assert found["notes"].startswith("batchseal ") and "<no value>" not in found["notes"]
    names = [(each["kind"], each["metadata"]["name"]) for each in objects]
    assert len(set(names)) == len(names)
    for each in objects:
        assert each["metadata"]["labels"].keys() >= STANDARD

    labels = workload(objects)["spec"]["template"]["metadata"]["labels"]
    ports = {port["name"] for port in container(objects)["ports"]}
    services = {each["metadata"]["name"]: each["spec"] for each in objects if each["kind"] == "Service"}
    (hook,) = (each for each in objects if each["kind"] == "Pod")
    for spec in services.values():
        assert spec["selector"].items() <= labels.items()
        assert not spec["selector"].items() <= hook["metadata"]["labels"].items(), "callers would reach the test's pod"
        assert all(port["targetPort"] in ports for port in spec["ports"])
    for each in objects:
        if each["kind"] == "Ingress":
            for path in (path for rule in each["spec"]["rules"] for path in rule["http"]["paths"]):
                backend = path["backend"]["service"]
                assert backend["port"]["name"] in {port["name"] for port in services[backend["name"]]["ports"]}
        if each["kind"] in ("NetworkPolicy", "PodDisruptionBudget"):
            selector = each["spec"].get("podSelector", each["spec"].get("selector"))["matchLabels"]
            assert selector.items() <= labels.items()

    volumes = {each["name"]: each for each in pod(objects).get("volumes", [])}
    claims = {claim["metadata"]["name"] for claim in workload(objects)["spec"].get("volumeClaimTemplates", [])}
    mounts = container(objects)["volumeMounts"]
    assert {each["name"] for each in mounts} == volumes.keys() | claims
    assert len({each["mountPath"] for each in mounts}) == len(mounts)
    for flag, path in (flag.split("=", 1) for flag in flags if "/run/secrets/" in flag):
        assert any(Path(path).parent == Path(each["mountPath"]) for each in mounts), flag
    assert pod(objects)["enableServiceLinks"] is False


def test_an_example_of_each_kind_is_there() -> None:
    found = {each["kind"] for path in EXAMPLES for each in example(path.name.removesuffix("-values.yaml"))["objects"]}
    assert found == {
        *(
            "StatefulSet",
            "Deployment",
            "Service",
            "Pod",
            "Secret",
            "ConfigMap",
            "ServiceAccount",
            "Ingress",
            "HTTPRoute",
        ),
        *("NetworkPolicy", "PodDisruptionBudget", "HorizontalPodAutoscaler", "ServiceMonitor", "PrometheusRule"),
    }


# --- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"replcas": 2}, "additional properties 'replcas' not allowed"),
        ({"replicas": "2"}, "at '/replicas': got string, want integer"),
        (
            {"serviceDomain": "signing.example"},
            "at '/serviceDomain': 'signing.example' does not match pattern '^(https?:",
        ),
        ({"volume": {"size": "8 GB"}}, "at '/volume/size': '8 GB' does not match"),
        ({"operator": {"port": 70000}}, "at '/operator/port': maximum: got 70,000, want 65,535"),
        ({"service": {"type": "clusterip"}}, "at '/service/type': value must be one of 'ClusterIP', 'NodePort'"),
        ({"payloadStore": "gs://bucket"}, "at '/payloadStore': 'gs://bucket' does not match pattern '^(local|shared:/"),
        ({"hotFolderSettings": {"mode": 0o664}}, "at '/hotFolderSettings/mode': got number, want string"),
        ({"hotFolderVolumes": [{"name": "in", "volume": {"emptyDir": {}}}]}, "missing property 'mountPath'"),
        ({"extraEnv": {"TZ": "Europe/Lisbon"}}, "at '/extraEnv': got object, want array"),
        ({"clientServicesSecret": {"my-client": {}}}, "at '/clientServicesSecret': got object, want string"),
        (
            {"secrets": {"databaseUrl": "mysql://db/seals"}},
            "at '/secrets/databaseUrl': 'mysql://db/seals' does not match",
        ),
        ({"podLabels": {"tier": 1}}, "at '/podLabels/tier': got number, want string"),
        ({"databasePooler": "session"}, "at '/databasePooler': value must be one of '', 'transaction'"),
        ({"ingress": {"hosts": ["seals.example"]}}, "at '/ingress/hosts/0': got string, want object"),
        ({"image": {"digest": "sha256:1"}}, "at '/image/digest': 'sha256:1' does not match"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(wrong: dict[str, Any], said: str) -> None:
    assert said in refused(**wrong)


@pytest.mark.parametrize(
    ("apart", "said"),
    [
        (
            {"clientServicesSecret": "a", "secrets": {"clientServices": {"b": {}}}},
            "secrets.clientServices: clientServicesSecret",
        ),
        ({"caBundle": {"configMap": "a", "secret": "b"}}, "caBundle: give a configMap or a secret"),
        ({"proxy": {"passwordSecret": "a"}}, "proxy.hostname"),
        ({"proxy": {"hostname": "a"}}, "proxy.port"),
        ({"operator": {"port": 8080}}, "8080 is the port of the API"),
        ({"operator": {"port": 9090}, "managementPort": 9090}, "different ports"),
        ({"operator": {"ingress": {"enabled": True}}}, "give operator.port"),
        ({"operator": {"port": 8443, "ingress": {"enabled": True}}}, "trustedProxies"),
        (
            {"operator": {"port": 8443, "ingress": {"enabled": True}}, "trustedProxies": "10.0.0.0/8"},
            "operator.ingress.host",
        ),
        ({"operator": {"port": 8443, "oidc": {"issuer": "https://a.example"}}}, "operator.oidc"),
        ({"operator": {"port": 8443}, "networkPolicy": {"enabled": True}}, "networkPolicy.operatorFrom"),
        ({"tls": {"clientCaSecret": "a"}}, "tls.secret"),
        ({"tls": {"secret": "b", "clientCaSecret": "a"}}, "managementPort"),
        ({"serviceMonitor": {"enabled": True}}, "managementPort"),
        (
            {"serviceMonitor": {"enabled": True}, "managementPort": 9090, "networkPolicy": {"enabled": True}},
            "networkPolicy.managementFrom",
        ),
        ({"autoscaling": {"enabled": True}}, "payloadStore"),
        ({"httpRoute": {"enabled": True}}, "httpRoute.parentRefs"),
        ({"volume": {"existingClaim": "a", "retention": {"whenDeleted": "Delete"}}}, "volume.retention"),
    ],
)
def test_values_that_do_not_go_together_are_refused(apart: dict[str, Any], said: str) -> None:
    assert said in refused(**apart)


# --- single values -----------------------------------------------------------------------------------------------------


def test_claims_and_selectors_have_no_labels_that_a_release_changes() -> None:
    found = rendered(commonLabels={"team": "finance"}, podLabels={"tier": "back"})
    (claim,) = one(found, "StatefulSet")["spec"]["volumeClaimTemplates"]
    assert claim["metadata"] == {"name": "temp"}
    assert one(found, "StatefulSet")["spec"]["selector"]["matchLabels"].keys() == {
        "app.kubernetes.io/name",
        "app.kubernetes.io/instance",
    }
    assert all(each["metadata"]["labels"]["team"] == "finance" for each in found)
    stubborn = rendered(commonLabels={"app.kubernetes.io/name": "other"}, podLabels={"app.kubernetes.io/instance": "x"})
    assert one(stubborn, "Service")["metadata"]["labels"]["app.kubernetes.io/name"] == "batchseal"
    selector = one(stubborn, "StatefulSet")["spec"]["selector"]["matchLabels"]
    assert selector.items() <= one(stubborn, "StatefulSet")["spec"]["template"]["metadata"]["labels"].items()


def test_secrets_that_the_chart_makes_are_those_that_it_mounts() -> None:
    found = example("secrets")["objects"]
    made = {each["metadata"]["name"]: each["stringData"] for each in found if each["kind"] == "Secret"}
    mounted = {each["secret"]["secretName"] for each in pod(found)["volumes"] if "secret" in each}
    (password,) = container(found)["env"]
    (store,) = container(found)["envFrom"]
    reference = password["valueFrom"]["secretKeyRef"]
    assert password["name"] == "BATCHSEAL_PROXY_PASSWORD" and made[reference["name"]][reference["key"]] == "password"
    assert made.keys() == mounted | {reference["name"], store["secretRef"]["name"]}
    # Each file that a flag names is a key of the Secret that is mounted there.
    volumes = {each["name"]: each["secret"]["secretName"] for each in pod(found)["volumes"] if "secret" in each}
    for path in (Path(flag.partition("=")[2]) for flag in container(found)["args"] if "/run/secrets/" in flag):
        assert made[volumes[path.parent.name]][path.name].strip()
    services = json.loads(made["seals-client-services"]["client-services-config.json"])
    assert services == {"my-client": {"secret": "a text of 16 characters or more"}}
    # The value is in a Secret alone, and another one restarts the pods.
    text = json.dumps([each for each in found if each["kind"] != "Secret"])
    assert "password@" not in text and "a text of 16" not in text

    def checksum(password: str) -> str:
        now = rendered(proxy={"hostname": "proxy.example", "port": 3128}, secrets={"proxyPassword": password})
        annotations: dict[str, str] = workload(now)["spec"]["template"]["metadata"]["annotations"]
        return annotations["checksum/environment"]

    assert checksum("one") != checksum("two")
    assert not any(each["kind"] == "Secret" for each in rendered())


def test_the_ports_for_operators_are_reached_by_nobody_else() -> None:
    found = example("locked-network")["objects"]
    spec = one(found, "NetworkPolicy")["spec"]
    peers = {rule["ports"][0]["port"]: rule["from"] for rule in spec["ingress"]}
    assert peers.keys() == {"http", "operator", "management"}
    assert peers["management"] == [{"ipBlock": {"cidr": "10.9.0.0/24"}}]
    (hook,) = (each for each in found if each["kind"] == "Pod")
    assert peers["http"][-1]["podSelector"]["matchLabels"].items() <= hook["metadata"]["labels"].items()
    allowed = [port["port"] for rule in spec["egress"] for port in rule["ports"]]
    assert allowed == [53, 53, 3128, 443] and spec["policyTypes"] == ["Ingress", "Egress"]
    closed = one(rendered(managementPort=9090, networkPolicy={"enabled": True}), "NetworkPolicy")["spec"]
    assert [rule["ports"] for rule in closed["ingress"]] == [[{"port": "http"}]]


def test_the_monitor_finds_the_port_of_metrics() -> None:
    found = example("observed")["objects"]
    monitor = one(found, "ServiceMonitor")
    service = one(found, "Service", "-metrics")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    others = (each for each in found if each["kind"] == "Service" and each is not service)
    for other in others:
        assert not monitor["spec"]["selector"]["matchLabels"].items() <= other["metadata"]["labels"].items()
    (endpoint,), (port,) = monitor["spec"]["endpoints"], service["spec"]["ports"]
    assert (endpoint["port"], port["port"], endpoint["path"]) == (port["name"], 9090, "/metrics")
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert one(found, "PrometheusRule")["metadata"]["labels"]["release"] == "prometheus"
    assert one(found, "ConfigMap", "-dashboard")["metadata"]["annotations"] == {"grafana_folder": "Signatures"}


def test_probes_ask_where_no_certificate_is_needed() -> None:
    found = example("tls")["objects"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container(found)[probe]["httpGet"]["port"] == "management"
        secure = container(rendered(tls={"secret": "tls"}))[probe]["httpGet"]
        assert (secure["port"], secure["scheme"]) == ("http", "HTTPS")


def test_hot_folders_may_be_volumes_of_their_own() -> None:
    found = example("hot-folders")["objects"]
    mounts = {each["mountPath"]: each for each in container(found)["volumeMounts"]}
    assert mounts.keys() == {"/tmp", "/home", "/hot-folders", "/seal/in", "/seal/out", "/seal/backup"}
    assert not any(mounts[path].get("readOnly") for path in mounts if path != "/home")
    assert mounts["/seal/backup"]["subPath"] == "originals"
    assert {
        *("--hot-folder-enabled=true", "--hot-folder-flush=60", "--hot-folder-look=0.5", "--hot-folder-mode=0640"),
        *("--hot-folder-threshold=1000000", "--hot-folder-cron=0 0/1 * * * ?", "--hot-folder-ready=done"),
    } <= set(container(found)["args"])
    names = SCHEMA["properties"]["hotFolderSettings"]["properties"]
    assert {f"hot_folder_{name.replace('-', '_')}" for name in names} | {
        "hot_folder_enabled",
        "hot_folder_lock_minutes",
    } == {name for name in OPTIONS if name.startswith("hot_folder_")}


def test_instances_are_spread_by_their_own_pods() -> None:
    first, second = pod(example("instances")["objects"])["topologySpreadConstraints"]
    assert first["labelSelector"]["matchLabels"]["app.kubernetes.io/instance"] == "seals"
    assert second["labelSelector"] == {"matchLabels": {"app.kubernetes.io/component": "instance"}}


def test_the_number_of_instances_is_left_to_the_autoscaler() -> None:
    found = example("autoscaling")["objects"]
    assert "replicas" not in one(found, "Deployment")["spec"]
    scaler = one(found, "HorizontalPodAutoscaler")["spec"]
    assert (scaler["scaleTargetRef"]["name"], scaler["minReplicas"], scaler["maxReplicas"]) == ("seals", 2, 6)
    assert one(found, "PodDisruptionBudget")["spec"]["maxUnavailable"] == "50%"


def test_pods_run_where_and_as_whom_they_are_told() -> None:
    found = example("placement")["objects"]
    spec = pod(found)
    assert spec["serviceAccountName"] == "invoice-seals"
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert [spec[key] for key in ("priorityClassName", "runtimeClassName")] == ["business", "gvisor"]
    assert spec["nodeSelector"] and spec["tolerations"] and spec["affinity"] and spec["hostAliases"]
    assert [each["name"] for each in spec["initContainers"] + spec["containers"]] == ["wait", "batchseal", "log"]
    assert container(found)["image"].startswith("registry.example/batchseal@sha256:")
    assert "volumeClaimTemplates" not in workload(found)["spec"]
    assert spec["volumes"][0] == {"name": "temp", "persistentVolumeClaim": {"claimName": "seals-disk"}}
    assert workload(found)["metadata"]["name"] == "invoice-seals"
    assert container(found)["startupProbe"]["failureThreshold"] == 1800
    assert "serviceAccountName" not in pod(rendered())
    context = pod(example("openshift")["objects"])["securityContext"]
    assert context.keys() == {"runAsNonRoot", "fsGroupChangePolicy", "seccompProfile"}


def test_exports_of_the_audit_trail_outlive_the_pods_of_several_instances() -> None:
    found = example("instances")
    (mount,) = (each for each in container(found["objects"])["volumeMounts"] if each["name"] == "audit")
    assert {"name": "BATCHSEAL_AUDIT_FOLDER", "value": mount["mountPath"]} in container(found["objects"])["env"]
    volumes = {each["name"]: each for each in pod(found["objects"])["volumes"]}
    assert volumes["audit"] == {"name": "audit", "persistentVolumeClaim": {"claimName": "seals-audit"}}
    assert "auditClaim" not in found["notes"] and "auditClaim" in example("autoscaling")["notes"]
    assert "auditClaim" not in release({})["notes"]


def test_notes_say_what_is_still_open() -> None:
    assert "NO SIGNING SERVICE" in release({})["notes"]
    assert "proxy-body-size" in example("production")["notes"] and "NO SIGNING" not in example("production")["notes"]
    assert "not among trustedProxies" in release({"ingress": {"enabled": True}})["notes"]
    assert (
        "--database-url-file=/run/secrets/batchseal/database/url"
        in release({"operator": {"port": 8443}, "databaseSecret": "database"})["notes"]
    )
