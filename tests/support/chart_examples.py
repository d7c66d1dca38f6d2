"""The examples of values in chart/ci, rendered, and what tests look for in the objects that come of them."""

from typing import Any

import yaml
from harness.chart_readme import CHART
from tests.support.deployment import Objects, release

# The oldest version that the chart allows, one between, and the newest one that there are schemas for.
VERSIONS = ["1.27", "1.31", "1.37"]


def example(name: str) -> dict[str, Any]:
    """What comes of an example, its objects judged by the versions of Kubernetes that `VERSIONS` names."""
    given = yaml.safe_load((CHART / "ci" / f"{name}-values.yaml").read_text("utf-8"))
    found = release(given, versions=VERSIONS)
    assert "refused" not in found, found["refused"]
    return found


def one(objects: Objects, kind: str, suffix: str = "") -> dict[str, Any]:
    (found,) = (each for each in objects if (each["kind"], each["metadata"]["name"]) == (kind, f"seals{suffix}"))
    return found


def workload(objects: Objects) -> dict[str, Any]:
    (found,) = (each for each in objects if each["kind"] in ("StatefulSet", "Deployment"))
    return found


def pod(objects: Objects) -> dict[str, Any]:
    spec: dict[str, Any] = workload(objects)["spec"]["template"]["spec"]
    return spec


def container(objects: Objects) -> dict[str, Any]:
    (found,) = (each for each in pod(objects)["containers"] if each["name"] == "batchseal")
    return found
