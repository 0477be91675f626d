"""Servers that take TLS, and their certificate."""

import shutil
import subprocess
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
from tests.deadlines import HANG
from tests.kiqstart.integration.redis.servers import (
    CLUSTER_PORTS,
    free_port,
    make_server,
    running,
    wait_for_cluster,
)

from kiqstart.local.redis import find_redis

TlsKind = Literal["rediss", "sentinels", "clusters"]


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """A certificate for 127.0.0.1 that is its own authority."""

    certificate: Path
    key: Path

    @property
    def arguments(self) -> tuple[str, ...]:
        """The options of a server that takes TLS, on a port of its own."""
        return (
            *("--tls-cert-file", str(self.certificate), "--tls-key-file", str(self.key)),
            *("--tls-ca-cert-file", str(self.certificate), "--tls-auth-clients", "no"),
        )


def make_certificate(folder: Path) -> Certificate:
    """Make one with `openssl`; skip the test where there is none."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl on the PATH to make a certificate with")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    files = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    made = subprocess.run(
        [openssl, *request, *files],
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    return Certificate(certificate=certificate, key=key)


def require_tls(folder: Path) -> None:
    """Skip the test where the server was built without TLS."""
    found = find_redis(folder)
    # It refuses the option, the kind of connection, or, where it knows both, the files that are not there.
    answer = subprocess.run(
        [found.program, "--port", "0", "--tls-port", "1", "--tls-cert-file", "none"],
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG,
    )
    if any(refusal in answer.stdout + answer.stderr for refusal in ("Bad directive", "Failed finding TLS support")):
        pytest.skip(f"{found.description} was built without TLS")


@contextmanager
def running_with_tls(kind: TlsKind, folder: Path, certificate: Certificate) -> Generator[str]:
    """Run a Redis of a kind, and give its URL, without the certificate's authority."""
    with ExitStack() as stack:
        port = free_port(CLUSTER_PORTS)
        server = make_server(folder / "server", "--tls-port", str(port), *certificate.arguments)
        if kind == "clusters":
            server.arguments = [*server.arguments, "--cluster-enabled", "yes", "--tls-cluster", "yes"]
        stack.enter_context(running(server))
        if kind == "clusters":
            with server.client() as client:
                client.execute_command("CLUSTER", "ADDSLOTS", *range(16384))
                wait_for_cluster(client, nodes=1)
        if kind != "sentinels":
            yield f"{kind}://127.0.0.1:{port}"
            return
        sentinel, sentinel_port = make_server(folder / "sentinel"), free_port()
        file = folder / "sentinel.conf"
        names = dict(zip(certificate.arguments[::2], certificate.arguments[1::2], strict=True))
        file.write_text(
            f"port {sentinel.port}\nbind 127.0.0.1\ntls-port {sentinel_port}\ntls-replication yes\n"
            + "".join(f"{name.removeprefix('--')} {value}\n" for name, value in names.items())
            + f"sentinel monitor main 127.0.0.1 {port} 1\n"
        )
        sentinel.arguments = [str(file), "--sentinel"]
        stack.enter_context(running(sentinel))
        yield f"sentinels://127.0.0.1:{sentinel_port}/main"
