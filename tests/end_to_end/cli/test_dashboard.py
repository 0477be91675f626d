import re
import signal
import socket
from pathlib import Path

import httpx
from tests.deadlines import HANG
from tests.end_to_end.cli.command_line import CommandLine
from tests.end_to_end.cli.in_process import Kiqstart

from kiqstart.dashboard import DashboardSettings
from kiqstart.dashboard.passwords import PasswordHash, hash_password

ROOT = Path(__file__).parents[3]
PASSWORD = "correct horse"
LOGIN = {"KIQSTART_DASHBOARD_PASSWORD_HASH": hash_password(PASSWORD)}


def test_it_is_served_until_it_is_asked_to_end(kiqstart: CommandLine) -> None:
    with kiqstart.start("dashboard", "--port", "0", environment=LOGIN) as process:
        process.wait_for_log("Application startup complete")
        [address] = re.findall(r"the dashboard is at (http://127\.0\.0\.1:\d+)\n", process.log)
        with httpx.Client(base_url=address, follow_redirects=True, timeout=HANG) as client:
            page = client.get("/")
            assert "Log in" in page.text
            assert "server" not in page.headers
            [token] = re.findall(r'name="token" value="(\w+)"', page.text)
            page = client.post("/login", data={"token": token, "user": "ada", "password": PASSWORD})
            assert "Overview" in page.text
            assert "Retention" in page.text
            assert client.get("/retention").status_code == 200
            with client.stream("GET", "/queues", headers={"accept": "text/event-stream"}) as stream:
                lines = stream.iter_lines()
                assert any("No queue and no task is paused" in line for line in lines)
                assert kiqstart.run("pause", "queue", "default", "--reason", "it moves").returncode == 0
                assert any("it moves" in line for line in lines)
                # It does not wait for who looks on.
                process.send_signal(signal.SIGTERM)
                assert [*lines]
        assert process.wait() == 0


def test_without_a_login_nothing_is_served(kiqstart_here: Kiqstart) -> None:
    for host in ("127.0.0.1", "0.0.0.0"):  # noqa: S104  # the point
        done = kiqstart_here("dashboard", "--port", "0", "--host", host)
        assert done.code == 1
        assert "is served with a login only" in done.err
        assert done.err.count("\n") == 1


def test_an_address_that_is_taken_is_one_line(kiqstart_here: Kiqstart) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = kiqstart_here("dashboard", "--port", str(taken.getsockname()[1]), environment=LOGIN)
    assert done.code == 1
    assert done.err.startswith("kiqstart: cannot listen at 127.0.0.1, port ")
    assert done.err.count("\n") == 1
    assert "cannot listen" in kiqstart_here("dashboard", "--host", "no.such.host.invalid", environment=LOGIN).err


def test_a_hash_is_made_of_a_password_from_standard_input(kiqstart_here: Kiqstart) -> None:
    done = kiqstart_here("dashboard", "hash-password", stdin=f"{PASSWORD}\n")
    assert PasswordHash.parse(done.out.strip()).fits(PASSWORD)
    for unusable in ("", "short\n", "x" * 2000):
        done = kiqstart_here("dashboard", "hash-password", stdin=unusable)
        assert (done.code, done.out) == (1, "")
        assert "8 characters or more" in done.err


def test_its_settings_are_described() -> None:
    names = {f"KIQSTART_DASHBOARD_{name}".upper() for name in DashboardSettings.model_fields}
    document = (ROOT / "docs" / "dashboard.md").read_text()
    assert set(re.findall(r"^\| `(KIQSTART_DASHBOARD_\w+)` \|", document, flags=re.MULTILINE)) == names
    assert set(re.findall(r"^# (KIQSTART_DASHBOARD_\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)) == names
