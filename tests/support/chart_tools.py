"""Renders the chart with Helm's own library and judges manifests, for tests/unit/test_chart*.py.

It runs in an environment of its own, which `make deployment-tools` makes. Each line of standard input is a task: the folder of
a chart and values. For each of them it prints a line with what came of it: the objects and the notes of the release `seals` and
what Helm's linter said, or why it was refused.
"""

import json
import sys
from typing import Any

import helm_python
import kubernetes_validate
import yaml

# The newest version that there are schemas for. Tests name others.
KUBERNETES = ("1.37",)
# Kinds that Kubernetes itself does not know. For those of the Gateway API there is no judge here.
PROMETHEUS = "monitoring.coreos.com/"
GATEWAY = "gateway.networking.k8s.io/"


def judge(one: dict[str, Any], versions: tuple[str, ...]) -> None:
    """Raises an error for an object that one of `versions` of Kubernetes, or the Prometheus operator, would not take as it is."""
    if one["apiVersion"].startswith(PROMETHEUS):
        from cloudcoil.models.prometheus_operator import v1 as prometheus_operator  # it takes a second to load

        model = getattr(prometheus_operator, one["kind"]).model_validate(one)
        taken = json.loads(model.model_dump_json(by_alias=True, exclude_none=True))
        if taken != one:
            raise ValueError(f"{one['kind']}: the Prometheus operator does not know all of {one}; it reads {taken}")
    elif not one["apiVersion"].startswith(GATEWAY):
        for version in versions:
            kubernetes_validate.validate(one, version, strict=True)


def render(chart: str, values: dict[str, Any], versions: tuple[str, ...] = KUBERNETES) -> dict[str, Any]:
    """The objects of the release `seals`, each judged by the schemas of Kubernetes, or what refuses them."""
    try:
        with helm_python.Chart.load(chart) as loaded:
            texts = loaded.render(values, name="seals", namespace="prod")
    except helm_python.HelmError as problem:
        return {"refused": str(problem)}
    notes = "".join(texts.pop(name) for name in list(texts) if name.endswith("NOTES.txt"))
    objects = [one for text in texts.values() for one in yaml.safe_load_all(text) if one]
    for one in objects:
        judge(one, tuple(versions))
    lint = helm_python.lint(chart, values, strict=True)
    return {"objects": objects, "notes": notes, "lint": lint}


def main() -> None:
    for line in sys.stdin:
        try:
            done = render(**json.loads(line))
        except Exception as problem:
            done = {"fault": f"{type(problem).__name__}: {problem}"}
        print(json.dumps(done), flush=True)


if __name__ == "__main__":
    main()
