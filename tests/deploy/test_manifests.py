"""What is in deploy/ and compose.yaml, against the schemas of whatever reads it."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Final, cast

import jsonschema
import kubernetes_validate
import pytest
import yaml

ROOT: Final = Path(__file__).parents[2]
KUBERNETES: Final = ROOT / "deploy/kubernetes"
UNITS: Final = sorted((ROOT / "deploy/systemd").glob("*.service"))
KIQSTART: Final = Path(sys.prefix) / "bin/kiqstart"
OLDEST, NEWEST = "1.30", kubernetes_validate.latest_version()
# Seconds in which a worker gives back what has not ended, and leaves.
MARGIN: Final = 10
KEDA_SCHEMA: Final = Path(__file__).parent / "keda_scaledobject.yaml"
# What KEDA's scaler reads of a trigger of Prometheus (pkg/scalers/prometheus_scaler.go); metricType is beside it.
PROMETHEUS_NEEDS: Final = {"serverAddress", "query", "threshold"}
PROMETHEUS_TAKES: Final = {*PROMETHEUS_NEEDS, "activationThreshold", "ignoreNullValues", "namespace", "timeout"}

Object = dict[str, Any]


def documents(file: Path) -> list[Object]:
    return [one for one in yaml.safe_load_all(file.read_text()) if one]


def manifests() -> Iterator[tuple[str, Object]]:
    for name in cast("list[str]", documents(KUBERNETES / "kustomization.yaml")[0]["resources"]):
        for one in documents(KUBERNETES / name):
            yield f"{name}: {one['kind']} {one['metadata']['name']}", one


MANIFESTS: Final = dict(manifests())
PODS: Final = {
    name: cast("Object", one["spec"]["template"]["spec"])
    for name, one in MANIFESTS.items()
    if "template" in one.get("spec", {})
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_kubernetes_takes_each_manifest(name: str) -> None:
    for version in (OLDEST, NEWEST):
        kubernetes_validate.validate(MANIFESTS[name], version, strict=True)


def test_an_unknown_field_is_found() -> None:
    broken = json.loads(json.dumps(MANIFESTS["worker.yaml: Deployment kiqstart-worker"]))
    broken["spec"]["template"]["spec"]["terminationGracePeriod"] = 70
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, NEWEST, strict=True)


def test_each_file_is_applied_or_said_to_be_for_later() -> None:
    kustomization = KUBERNETES / "kustomization.yaml"
    applied = set(documents(kustomization)[0]["resources"])
    left = {file.name for file in KUBERNETES.glob("*.yaml")} - applied - {kustomization.name}
    assert left == {"worker-scaling.yaml"}
    assert "worker-scaling.yaml" in kustomization.read_text()


@pytest.mark.parametrize("name", PODS)
def test_pods_have_no_more_rights_than_they_need(name: str) -> None:
    pod = PODS[name]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "limits" in container["resources"]
        assert not container.get("env"), "secrets come from a Secret, and by name"


def test_kubernetes_kills_a_worker_after_it_has_given_back_what_it_had() -> None:
    pod = PODS["worker.yaml: Deployment kiqstart-worker"]
    wait = waits_in(pod["containers"][0]["command"])
    assert pod["terminationGracePeriodSeconds"] >= wait + MARGIN


@pytest.mark.parametrize("name", [name for name in PODS if name.startswith(("worker", "scheduler"))])
def test_probes_ask_the_port_that_the_process_opens(name: str) -> None:
    [container] = PODS[name]["containers"]
    [port] = container["ports"]
    assert f"--port={port['containerPort']}" in container["command"]
    assert "--host=0.0.0.0" in container["command"]
    paths = {probe: container[probe]["httpGet"]["path"] for probe in ("livenessProbe", "readinessProbe")}
    assert paths == {"livenessProbe": "/healthz", "readinessProbe": "/readyz"}
    assert all(container[probe]["httpGet"]["port"] == port["name"] for probe in paths)


def test_keda_scales_the_workers_by_metrics_that_there_are() -> None:
    [scaling] = documents(KUBERNETES / "worker-scaling.yaml")
    assert (scaling["apiVersion"], scaling["kind"]) == ("keda.sh/v1alpha1", "ScaledObject")
    spec = scaling["spec"]
    keda_takes(spec)
    assert f"worker.yaml: Deployment {spec['scaleTargetRef']['name']}" in MANIFESTS
    for trigger in spec["triggers"]:
        assert PROMETHEUS_NEEDS <= trigger["metadata"].keys() <= PROMETHEUS_TAKES
        assert float(trigger["metadata"]["threshold"]) > 0
    queries = " ".join(trigger["metadata"]["query"] for trigger in spec["triggers"])
    assert re.findall(r"kiqstart_\w+", queries) == ["kiqstart_queue_oldest_age_seconds", "kiqstart_tasks_waiting"]
    # What KEDA hands on to Kubernetes.
    assert spec["advanced"].keys() == {"horizontalPodAutoscalerConfig"}
    autoscaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": scaling["metadata"],
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", **spec["scaleTargetRef"]},
            "minReplicas": spec["minReplicaCount"],
            "maxReplicas": spec["maxReplicaCount"],
            **spec["advanced"]["horizontalPodAutoscalerConfig"],
        },
    }
    kubernetes_validate.validate(autoscaler, NEWEST, strict=True)


def keda_takes(spec: Object) -> None:
    """Check what KEDA's schema says, and what its webhook refuses beyond it."""
    jsonschema.validate(spec, documents(KEDA_SCHEMA)[0])
    assert spec["minReplicaCount"] <= spec["maxReplicaCount"]
    names = [trigger["name"] for trigger in spec["triggers"]]
    assert len(set(names)) == len(names)
    types = [trigger["metricType"] for trigger in spec["triggers"]]
    assert set(types) <= {"AverageValue", "Value"}
    assert "AverageValue" in types or "fallback" not in spec


@pytest.mark.parametrize(
    "change",
    [
        {"cooldown": 300},
        {"maxReplicaCount": 0},
        {"triggers": []},
        {"fallback": {"failureThreshold": 4}},
        {"scaleTargetRef": {}},
        {"triggers": [{"type": "prometheus", "metadata": {"threshold": 30}}]},
    ],
    ids=json.dumps,
)
def test_what_keda_refuses_is_found(change: Object) -> None:
    [scaling] = documents(KUBERNETES / "worker-scaling.yaml")
    with pytest.raises(jsonschema.ValidationError):
        keda_takes({**scaling["spec"], **change})


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_takes_each_unit_and_it_is_confined(unit: Path, tmp_path: Path) -> None:
    # The checkout's own path may have spaces, which a unit would have to quote.
    here, command = tmp_path / unit.name, tmp_path / "kiqstart"
    command.symlink_to(KIQSTART)
    here.write_text(unit.read_text().replace("/opt/kiqstart/.venv/bin/kiqstart", str(command)))
    found = analyze("verify", "--man=no", str(here))
    assert (found.returncode, found.stderr) == (0, "")
    exposure = analyze("security", "--offline=true", "--threshold=20", "--no-pager", str(here))
    assert exposure.returncode == 0, exposure.stdout


def test_systemd_kills_a_worker_after_it_has_given_back_what_it_had() -> None:
    [unit] = [unit.read_text() for unit in UNITS if unit.name == "kiqstart-worker@.service"]
    command = cast("re.Match[str]", re.search(r"^ExecStart=(.*)$", unit, re.MULTILINE))[1]
    timeout = int(cast("re.Match[str]", re.search(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE))[1])
    assert timeout >= waits_in(command.split()) + MARGIN
    # Its process for suspects and its pool end through it, as it asks them to.
    assert "\nKillMode=mixed\n" in unit


def test_compose_takes_its_file_and_each_profile_has_a_service() -> None:
    schema = json.loads((resources.files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json").read_text())
    compose = cast("Object", yaml.safe_load((ROOT / "compose.yaml").read_text()))
    validator = jsonschema.Draft202012Validator(schema)
    assert [error.message for error in validator.iter_errors(compose)] == []
    compose["services"]["worker"]["stop_grace"] = "60s"
    assert list(validator.iter_errors(compose))
    profiles = {profile for service in compose["services"].values() for profile in service.get("profiles", [])}
    assert profiles == {"dashboard", "tools"}


def test_compose_kills_a_worker_after_it_has_given_back_what_it_had() -> None:
    worker = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["worker"]
    assert int(worker["stop_grace_period"].removesuffix("s")) >= waits_in(worker["command"]) + MARGIN


def test_each_command_is_one_of_kiqstart() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    commands = [pod["containers"][0]["command"] for pod in PODS.values()]
    commands += [one["command"] for name, one in services.items() if name not in {"postgres", "redis"}]
    commands += [re.findall(r"^ExecStart=\S*/(.*)$", unit.read_text(), re.MULTILINE)[0].split() for unit in UNITS]
    known = subprocess.run([KIQSTART, "--help"], capture_output=True, text=True, check=True).stdout
    for command in commands:
        assert command[0] == "kiqstart"
        assert re.search(rf"^ +{command[1]} ", known, re.MULTILINE), command


def test_settings_of_compose_are_those_of_the_example() -> None:
    example = set(re.findall(r"^(?:# )?(TASKS_[A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    environment = yaml.safe_load((ROOT / "compose.yaml").read_text())["x-service"]["environment"]
    assert {name for name in environment if name.startswith("TASKS_")} == example


def waits_in(command: Sequence[str]) -> float:
    """Seconds of `--wait-tasks-timeout` in a command."""
    found = re.search(r"--wait-tasks-timeout[= ](\S+)", " ".join(command))
    assert found is not None
    return float(found[1])


def analyze(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)  # noqa: S607  # wherever it is
