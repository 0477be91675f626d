"""`make audit` fails where a dependency has a known vulnerability: with a database of this test's own."""

import json
import os
import subprocess
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from threading import Thread
from typing import Any, Final

import pytest
from tests.deadlines import HANG

ROOT: Final = Path(__file__).parents[2]
SCRIPT: Final = f'# /// script\n# requires-python = ">=3.11"\n# dependencies = ["redis=={version("redis")}"]\n# ///\n'
VULNERABILITY: Final = {
    "id": "PYSEC-0000-1",
    "modified": "2026-01-01T00:00:00Z",
    "published": "2026-01-01T00:00:00Z",
    "summary": "anybody may do anything",
    "affected": [{"package": {"ecosystem": "PyPI", "name": "redis"}, "versions": [version("redis")]}],
}


class Database(BaseHTTPRequestHandler):
    """Answers as OSV does, that each package which is asked for has `vulnerable` of them."""

    vulnerable: bool

    def do_POST(self) -> None:  # the base class' name
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        known = [{"id": VULNERABILITY["id"], "modified": VULNERABILITY["modified"]}] if self.vulnerable else []
        self._answer({"results": [{"vulns": known} if known else {} for _ in asked["queries"]]})

    def do_GET(self) -> None:  # the base class' name
        self._answer(VULNERABILITY)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401  # the base class'
        """Say nothing."""

    def _answer(self, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture(params=[True, False], ids=["vulnerable", "sound"])
def database(request: pytest.FixtureRequest) -> Generator[tuple[str, bool]]:
    handler = type("Answers", (Database,), {"vulnerable": request.param})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", bool(request.param)
        server.shutdown()


def test_a_known_vulnerability_fails_the_audit(database: tuple[str, bool], tmp_path: Path) -> None:
    url, is_vulnerable = database
    script = tmp_path / "release.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        ["make", "-s", "audit", f"RELEASE={script}", f"AUDIT=--service-url {url}"],  # noqa: S607  # its place differs
        cwd=ROOT,
        env={**os.environ, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG,
    )
    printed = done.stdout + done.stderr
    assert "not audited" not in printed
    assert (done.returncode != 0) == is_vulnerable, printed
    assert ("PYSEC-0000-1" in printed) == is_vulnerable
