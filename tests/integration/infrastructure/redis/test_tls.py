"""TLS to a server, to Sentinels and the master they name, and to a cluster."""

import asyncio
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from tests.integration.infrastructure.redis.servers import (
    CLUSTER_PORTS,
    Certificate,
    free_port,
    make_certificate,
    make_server,
    require_tls,
    running,
    wait_for_cluster,
)

from kiqstart.infrastructure.redis.connections import RedisConnections


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    folder = tmp_path_factory.mktemp("certificate")
    require_tls(folder)
    return make_certificate(folder)


@pytest.fixture(params=["rediss", "sentinels", "clusters"])
def url(request: pytest.FixtureRequest, certificate: Certificate, tmp_path: Path) -> Generator[str]:
    """The URL of a Redis of each kind, without its authority."""
    with ExitStack() as stack:
        port = free_port(CLUSTER_PORTS)
        server = make_server(tmp_path / "server", "--tls-port", str(port), *certificate.arguments)
        if request.param == "clusters":
            server.arguments = [*server.arguments, "--cluster-enabled", "yes", "--tls-cluster", "yes"]
        stack.enter_context(running(server))
        if request.param == "clusters":
            with server.client() as client:
                client.execute_command("CLUSTER", "ADDSLOTS", *range(16384))
                wait_for_cluster(client, nodes=1)
        if request.param != "sentinels":
            yield f"{request.param}://127.0.0.1:{port}"
            return
        sentinel, sentinel_port = make_server(tmp_path / "sentinel"), free_port()
        file = tmp_path / "sentinel.conf"
        names = dict(zip(certificate.arguments[::2], certificate.arguments[1::2], strict=True))
        file.write_text(
            f"port {sentinel.port}\nbind 127.0.0.1\ntls-port {sentinel_port}\ntls-replication yes\n"
            + "".join(f"{name.removeprefix('--')} {value}\n" for name, value in names.items())
            + f"sentinel monitor main 127.0.0.1 {port} 1\n"
        )
        sentinel.arguments = [str(file), "--sentinel"]
        stack.enter_context(running(sentinel))
        yield f"sentinels://127.0.0.1:{sentinel_port}/main"


async def test_a_server_is_trusted_by_its_authority(url: str, certificate: Certificate) -> None:
    found = RedisConnections(f"{url}?ssl_ca_certs={certificate.certificate}")
    client, sync = found.async_client(timeout=3.0), await asyncio.to_thread(found.sync_client, timeout=3.0)
    try:
        assert await client.set("x", 1)
        assert await asyncio.to_thread(sync.get, "x") == b"1"
    finally:
        await client.aclose()
        sync.close()


async def test_a_stranger_is_refused(url: str) -> None:
    client = RedisConnections(url).async_client(timeout=3.0)
    try:
        with pytest.raises(RedisConnectionError, match="certificate verify failed"):
            await client.get("x")
    finally:
        await client.aclose()
