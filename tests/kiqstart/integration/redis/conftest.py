"""One Redis of each kind, shared by the tests of a module."""

from collections.abc import Generator

import pytest
from tests.kiqstart.integration.redis.servers import (
    ESCAPED_PASSWORD,
    PASSWORD,
    SentinelGroup,
    Server,
    cluster,
    cluster_url,
    make_server,
    running,
    sentinel_group,
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    with running(make_server(tmp_path_factory.mktemp("server"), password=PASSWORD)) as server:
        yield server


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Generator[SentinelGroup]:
    with sentinel_group(tmp_path_factory.mktemp("sentinel")) as group:
        yield group


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Generator[list[Server]]:
    with cluster(tmp_path_factory.mktemp("cluster"), password=PASSWORD) as nodes:
        yield nodes


@pytest.fixture(params=["server", "sentinel", "cluster"])
def url(request: pytest.FixtureRequest) -> str:
    """The URL of a Redis, of each kind in turn."""
    if request.param == "server":
        server: Server = request.getfixturevalue("server")
        return f"redis://:{ESCAPED_PASSWORD}@127.0.0.1:{server.port}/0"
    if request.param == "sentinel":
        group: SentinelGroup = request.getfixturevalue("group")
        return group.url
    nodes: list[Server] = request.getfixturevalue("nodes")
    return cluster_url(nodes, credentials=f":{ESCAPED_PASSWORD}@")
