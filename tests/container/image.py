"""What the image holds: size, user, list of parts, and whether these parts are the newest and known to be sound."""

import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.container import engine

OWN_LAYERS_MB = 220
BOM = "/opt/batchseal/sbom.cdx.json"
NAME = "batchseal-test-image"
# In the image no part of a tool chain may be found.
TOOL_CHAIN = "gcc cc clang ld as make pip pip3"
DISTRIBUTIONS = "import importlib.metadata as m; print('\\n'.join(d.name + ' ' + d.version for d in m.distributions()))"
# The ten largest Python packages, a line each: name and bytes.
LARGEST = """
import importlib.metadata as m
sizes = {d.name: sum(f.locate().stat().st_size for f in d.files or () if f.locate().exists()) for d in m.distributions()}
print(*(f"{name} {sizes[name]}" for name in sorted(sizes, key=sizes.get, reverse=True)[:10]), sep="\\n")
"""
UPGRADES = """
set -e
apt-get update -qq
apt-cache policy | grep -c 'n=bookworm-security' || true
apt-get -s -qq dist-upgrade | grep '^Inst ' || true
"""


def examine() -> tuple[dict[str, float], list[str]]:
    """Numbers by name, and what is wrong."""
    numbers: dict[str, float] = {
        "image_mb": engine.image_bytes(engine.IMAGE) // 1_000_000,
        "own_layers_mb": (engine.image_bytes(engine.IMAGE) - engine.image_bytes(engine.BASE)) // 1_000_000,
    }
    wrong = [] if numbers["own_layers_mb"] < OWN_LAYERS_MB else ["our own layers are too large"]
    wrong += metadata()
    for part in (lint, parts, largest, newest, audited):
        more, problems = part()
        numbers |= more
        wrong += problems
    return numbers, wrong


def metadata() -> list[str]:
    """What the image says of itself."""
    image: dict[str, Any] = json.loads(engine.call("podman", "image", "inspect", engine.IMAGE))[0]
    said = image["Config"]
    expected = {
        "a user that is not root": str(said.get("User", "")).split(":")[0] not in ("", "0", "root"),
        "/tmp and /home as volumes": set(said.get("Volumes", {})) == {"/tmp", "/home"},
        "its folder on the volume": "BATCHSEAL_TEMP_FOLDER=/tmp/batchseal" in said.get("Env", []),
        "port 8080": "8080/tcp" in said.get("ExposedPorts", {}),
        "a health check by its own probe": "probe" in image.get("Healthcheck", {}).get("Test", []),
        "OCI labels": {"title", "version", "revision", "licenses"}
        <= {name.removeprefix("org.opencontainers.image.") for name in said.get("Labels", {})},
        "no tool chain": not inside("sh", "-c", f"for t in {TOOL_CHAIN}; do command -v $t || true; done"),
    }
    return [f"the image lacks: {name}" for name, good in expected.items() if not good]


def inside(*command: str, user: str = "10001") -> str:
    return engine.inside(NAME, *command, user=user, seconds=180)


def lint() -> tuple[dict[str, float], list[str]]:
    program = Path(sys.executable).with_name("hadolint")
    run = subprocess.run([program, "Dockerfile"], cwd=engine.ROOT, capture_output=True, text=True, check=False)
    found = run.stdout.strip().splitlines()
    return {"hadolint_findings": len(found)}, found or ([run.stderr] if run.returncode else [])


def parts() -> tuple[dict[str, float], list[str]]:
    """The SBOM keeps to CycloneDX's schema and names every package that is installed."""
    text = inside("cat", BOM)
    wrong = [f"SBOM: {problem}" for problem in schema_problems(text)]
    components = json.loads(text)["components"]
    named = {(c["name"].lower(), c.get("version", "")) for c in components}
    debian = inside("dpkg-query", "-W", "-f", "${Package} ${Version}\\n").splitlines()
    python = inside("/opt/batchseal/bin/python3", "-I", "-c", DISTRIBUTIONS).splitlines()
    for line in [*debian, *python]:
        name, _, version = line.partition(" ")
        if (name.lower(), version) not in named and name.lower() != "batchseal":
            wrong.append(f"SBOM: {line} is not in it")
    return {"sbom_components": len(components), "debian_packages": len(debian), "python_packages": len(python)}, wrong


def largest() -> tuple[dict[str, float], list[str]]:
    """The ten largest packages, in MB of 10^6 bytes, without what Python compiles of them."""
    lines = inside("/opt/batchseal/bin/python3", "-I", "-c", LARGEST).splitlines()
    return {f"package_mb_{name}": round(int(size) / 1e6, 1) for name, size in map(str.split, lines)}, []


def schema_problems(text: str) -> list[str]:
    if importlib.util.find_spec("cyclonedx") is None:
        return ["cyclonedx-python-lib is not installed"]
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    version = SchemaVersion.from_version(json.loads(text)["specVersion"])
    problem = JsonStrictValidator(version).validate_str(text)
    return [str(problem)[:300]] if problem else []


def newest() -> tuple[dict[str, float], list[str]]:
    """Whether Debian, its updates and its security archive serve anything newer, as apt sees it today."""
    security, *upgrades = inside("sh", "-c", UPGRADES, user="0").splitlines()
    wrong = [f"not the newest: {line}" for line in upgrades]
    if security == "0":
        wrong.append("apt does not know the security archive")
    return {"debian_packages_outdated": len(upgrades)}, wrong


def audited() -> tuple[dict[str, float], list[str]]:
    """Known vulnerabilities of the locked packages. What the audit skips, as where its data is out of reach, is not audited."""
    wanted = Path(engine.ROOT, "requirements.lock").read_text("utf-8").count("==")
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        command = [sys.executable, "-m", "pip_audit", "--require-hashes", "--disable-pip", "-r", "requirements.lock"]
        command += ["--progress-spinner=off", "--timeout=10", "-f", "json", "-o", report.name]
        try:
            subprocess.run(command, cwd=engine.ROOT, capture_output=True, check=False, timeout=180)
            told = json.loads(report.read() or b'{"dependencies": []}')["dependencies"]
        except (subprocess.TimeoutExpired, ValueError):
            told = []
    seen = [package for package in told if "skip_reason" not in package]
    bad = [f"{p['name']} {p['version']}: {v['id']}" for p in seen for v in p["vulns"]]
    numbers: dict[str, float] = {
        "audit_packages_audited": len(seen),
        "audit_packages_not_audited": max(len(told), wanted) - len(seen),
        "audit_vulnerabilities": len(bad),
    }
    return numbers, bad
