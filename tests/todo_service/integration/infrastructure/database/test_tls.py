import ssl
from collections.abc import AsyncGenerator
from pathlib import Path
from urllib.parse import quote

import pytest
import pytest_asyncio
from sqlalchemy import make_url, text
from tests.kiqstart.integration.redis.tls import Certificate, make_certificate
from tests.service import database_settings
from tests.todo_service.integration.infrastructure.database.tls import tls_port

from kiqstart.database.alembic_database import DatabaseUnavailableError
from todo_service.infrastructure.database.database import service_database
from todo_service.infrastructure.database.engine import create_engine


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """For 127.0.0.1."""
    return make_certificate(tmp_path_factory.mktemp("its"))


@pytest.fixture(scope="module")
def another(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("another's"))


@pytest_asyncio.fixture
async def url(session_database_url: str, certificate: Certificate) -> AsyncGenerator[str]:
    """Of a server that shows this certificate; it still needs its options."""
    given = make_url(session_database_url)
    folder = given.query.get("host")
    if not isinstance(folder, str) or not folder.startswith("/"):
        pytest.skip("the PostgreSQL of DATABASE_URL has no socket here to put TLS before")
    async with tls_port(Path(folder) / ".s.PGSQL.5432", certificate.certificate, certificate.key) as port:
        yield given.set(host="HOST", port=port, query={}).render_as_string(hide_password=False)


async def connect(url: str) -> None:
    engine = create_engine(database_settings(url))
    try:
        await service_database(engine).check_schema()
        async with engine.connect() as connection:
            assert await connection.scalar(text("SELECT 1")) == 1
    finally:
        await engine.dispose()


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
async def test_the_servers_certificate_is_checked(
    url: str, certificate: Certificate, another: Certificate, mode: str
) -> None:
    url = url.replace("HOST", "127.0.0.1") + f"?sslmode={mode}&sslrootcert="
    await connect(url + quote(str(certificate.certificate), safe=""))
    for stranger in (str(another.certificate), "system"):
        with pytest.raises(DatabaseUnavailableError, match="certificate verify failed"):
            await connect(url + quote(stranger, safe=""))


async def test_the_name_counts_for_verify_full_alone(url: str, certificate: Certificate) -> None:
    url = url.replace("HOST", "localhost") + f"?sslrootcert={quote(str(certificate.certificate), safe='')}&sslmode="
    await connect(url + "verify-ca")
    with pytest.raises(DatabaseUnavailableError, match="Hostname mismatch"):
        await connect(url + "verify-full")


async def test_a_server_without_tls_is_not_spoken_to(certificate: Certificate, unused_tcp_port: int) -> None:
    url = f"postgresql://me:hunter2@127.0.0.1:{unused_tcp_port}/x?sslmode=verify-full&sslrootcert={certificate.certificate}"
    with pytest.raises(DatabaseUnavailableError, match="connection refused"):
        await connect(url)


def test_options_that_do_nothing_are_refused(certificate: Certificate, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    file, key = certificate.certificate, certificate.key
    for options, complaint in (
        (f"sslrootcert={file}", "sslrootcert, which do nothing with sslmode=prefer"),
        (f"sslmode=disable&sslrootcert={file}", "do nothing with sslmode=disable"),
        ("sslmode=verify-full&sslrootcert=/no/such/file", "sslrootcert a file that cannot be used: No such file"),
        (f"sslmode=verify-full&sslrootcert={tmp_path / 'empty.pem'}", "sslrootcert a file that cannot be used: "),
        (f"sslmode=verify-full&sslkey={key}", "a key needs its certificate"),
        (f"sslmode=verify-full&sslcert={file}&sslkey={file}", "sslcert a file that cannot be used: "),
    ):
        with pytest.raises(ValueError, match=complaint):
            database_settings(f"postgresql://me:hunter2@db/x?{options}")
    database_settings(f"postgresql://me@db/x?sslmode=require&sslcert={file}&sslkey={key}&sslrootcert={file}")
    assert ssl.get_default_verify_paths()
