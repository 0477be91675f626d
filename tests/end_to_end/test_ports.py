"""The ports of workers and schedulers as Prometheus and supervisors see them, and what is deployed on their figures."""

import json
import re
import shutil
import socket
import subprocess
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import cast

import httpx
import pytest
from tests.deadlines import HANG

from kiqstart.testing import ProcessFactory, ServiceProcess
from kiqstart.testing.processes import kiqstart_command

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy/prometheus/kiqstart-alerts.yml"
RULE_TESTS = RULES.with_name("kiqstart-alerts.test.yml")
GRAFANA = ROOT / "deploy/grafana/kiqstart-dashboard.json"
RUNBOOKS = ROOT / "docs/runbooks"
AT = "kiqstart: figures and health are at "
NAME = re.compile(r"\bkiqstart_\w+")


def address_of(process: ServiceProcess) -> str:
    process.wait_for_log(AT)
    return process.log.partition(AT)[2].split()[0].strip('",')


@pytest.fixture
def worker(worker: ProcessFactory) -> ProcessFactory:
    return replace(worker, command=kiqstart_command("worker"))


@pytest.fixture
def scheduler(scheduler: ProcessFactory) -> ProcessFactory:
    return replace(scheduler, command=kiqstart_command("scheduler"))


@pytest.fixture
def asked(worker: ProcessFactory, scheduler: ProcessFactory) -> Generator[tuple[str, str]]:
    """Where a worker and a scheduler answer."""
    with ExitStack() as stack:
        processes = [stack.enter_context(make("--port", "0")) for make in (worker, scheduler)]
        yield address_of(processes[0]), address_of(processes[1])


def test_a_worker_and_a_scheduler_serve_all_that_alerts_and_the_dashboard_ask_for(asked: tuple[str, str]) -> None:
    served = [httpx.get(f"{address}/metrics", timeout=HANG).text for address in asked]
    names = set(re.findall(r"^# TYPE (\w+) ", served[0], re.MULTILINE))
    assert names == set(re.findall(r"^# TYPE (\w+) ", served[1], re.MULTILINE))
    wanted = {*NAME.findall(RULES.read_text()), *NAME.findall(_queries(GRAFANA))}
    assert {name.removesuffix("_bucket") for name in wanted} <= names
    for address in asked:
        for path in ("/healthz", "/readyz"):
            answer = httpx.get(address + path, timeout=HANG)
            assert (answer.status_code, answer.json()["status"]) == (200, "ok"), answer.text


def _queries(dashboard: Path) -> str:
    panels = cast("list[dict[str, list[dict[str, str]]]]", json.loads(dashboard.read_text())["panels"])
    return "\n".join(target["expr"] for panel in panels for target in panel.get("targets", []))


def test_a_port_that_another_program_has_is_one_line(worker: ProcessFactory, scheduler: ProcessFactory) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for make, more in ((worker, []), (worker, ["--workers", "2"]), (scheduler, [])):
            process = make.start("--port", port, *more)
            assert process.wait() == 1
            line = f"cannot listen at 127.0.0.1, port {port}: another program does; choose another port"
            assert process.log.count("\n") == 1, process.log
            assert line in process.log


def test_every_alert_has_a_page_and_a_line_in_the_docs() -> None:
    rules = RULES.read_text()
    documented = (ROOT / "docs/metrics.md").read_text()
    alerts = re.findall(r"alert: (\w+)", rules)
    assert len(alerts) > 10
    for alert in alerts:
        assert f"`{alert}`" in documented
    pages = re.findall(r"runbook: docs/runbooks/(\S+)", rules)
    assert len(pages) == len(alerts)
    assert {page.name for page in RUNBOOKS.iterdir()} == set(pages)
    for alert, page in zip(alerts, pages, strict=True):
        assert f"`{alert}`" in (RUNBOOKS / page).read_text()
        assert f"runbooks/{page}" in documented


def test_the_rules_fire_when_they_should() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not there: apt-get install prometheus brings it")
    done = subprocess.run(
        [promtool, "test", "rules", RULE_TESTS.name], cwd=RULE_TESTS.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
