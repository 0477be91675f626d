"""TLS to a server, to Sentinels and the master they name, and to a cluster."""

import asyncio
from collections.abc import Generator
from pathlib import Path
from typing import get_args

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from tests.deadlines import HANG
from tests.kiqstart.integration.redis.tls import (
    Certificate,
    TlsKind,
    make_certificate,
    require_tls,
    running_with_tls,
)

from kiqstart.redis.connections import RedisConnections


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    folder = tmp_path_factory.mktemp("certificate")
    require_tls(folder)
    return make_certificate(folder)


@pytest.fixture(params=get_args(TlsKind))
def url(request: pytest.FixtureRequest, certificate: Certificate, tmp_path: Path) -> Generator[str]:
    """The URL of a Redis of each kind, without its authority."""
    with running_with_tls(request.param, tmp_path, certificate) as url:
        yield url


async def test_a_server_is_trusted_by_its_authority(url: str, certificate: Certificate) -> None:
    found = RedisConnections(f"{url}?ssl_ca_certs={certificate.certificate}")
    client, pipeline = found.async_client(timeout=HANG), found.pipeline(timeout=HANG)
    sync = await asyncio.to_thread(found.sync_client, timeout=HANG)
    try:
        assert await client.set("x", 1)
        assert await pipeline.eval("return redis.call('get', KEYS[1])", 1, "x") == b"1"
        assert await asyncio.to_thread(sync.get, "x") == b"1"
    finally:
        await client.aclose()
        await pipeline.aclose()
        sync.close()


async def test_a_stranger_is_refused(url: str) -> None:
    connections = RedisConnections(url)
    for client in (connections.async_client(timeout=HANG), connections.pipeline(timeout=HANG)):
        try:
            with pytest.raises(RedisConnectionError, match="certificate verify failed"):
                await client.eval("return 1", 1, "x")
        finally:
            await client.aclose()
