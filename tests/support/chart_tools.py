"""Renders the chart with Helm's own library and judges manifests, for tests/unit/test_chart.py.

It runs in an environment of its own, which `make deployment-tools` makes. It reads a list of tasks from standard input. For each
of them it prints a list of manifests, or the text of what is wrong.
"""

import json
import sys
from typing import Any

import helm_python
import kubernetes_validate
import yaml

KUBERNETES = "1.37"
# Kinds that Kubernetes itself does not know: those of the Prometheus operator.
OF_OTHERS = "monitoring.coreos.com/"


def render(chart: str, values: dict[str, Any]) -> list[dict[str, Any]] | str:
    """The objects of the release `seals`, each judged by the schemas of Kubernetes, or what refuses them."""
    try:
        with helm_python.Chart.load(chart) as loaded:
            texts = loaded.render(values, name="seals", namespace="prod").values()
    except helm_python.HelmError as problem:
        return str(problem)
    objects = [one for text in texts for one in yaml.safe_load_all(text) if one]
    for one in objects:
        if not one["apiVersion"].startswith(OF_OTHERS):
            kubernetes_validate.validate(one, KUBERNETES, strict=True)
    return objects


def main() -> None:
    tasks = json.load(sys.stdin)
    json.dump([render(**task) for task in tasks], sys.stdout)


if __name__ == "__main__":
    main()
