import pytest

from kiqstart.settings import SettingsError, load_settings
from todo_service.infrastructure.database.engine import create_engine
from todo_service.infrastructure.database.settings import DatabaseSettings


@pytest.fixture(autouse=True)
def _no_dotenv(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("empty"))


def url_of(text: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("DATABASE_URL", text)
    return load_settings(DatabaseSettings).parsed_url().url.render_as_string(hide_password=False)


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("postgres://u:p@db:5433/app", "postgresql+asyncpg://u:p@db:5433/app"),
        ("postgresql://u:p@db/app", "postgresql+asyncpg://u:p@db/app"),
        ("postgresql+asyncpg://u@db/app", "postgresql+asyncpg://u@db/app"),
        (" postgresql://u:p%40ss@db/app\n", "postgresql+asyncpg://u:p%40ss@db/app"),
        ("postgresql://u@/app?host=/run/pg", "postgresql+asyncpg://u@/app?host=%2Frun%2Fpg"),
        ("postgresql://u@db/app?sslmode=require", "postgresql+asyncpg://u@db/app?ssl=require"),
        ("postgresql://u@db/app?ssl=verify-full", "postgresql+asyncpg://u@db/app?ssl=verify-full"),
    ],
)
def test_urls_are_normalised_for_asyncpg(given: str, used: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert url_of(given, monkeypatch) == used


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ("sqlite:///hunter2", "must name PostgreSQL"),
        ("mysql://u:hunter2@db/app", "must name PostgreSQL"),
        ("postgresql+psycopg://u:hunter2@db/app", "must name PostgreSQL"),
        ("hunter2", "is not a URL"),
        ("postgresql://u:hunter2@db:99999/app", "names port 99999: write one from 1 to 65535"),
        ("postgresql://u:hunter2@a..b/app", "names a host that there cannot be"),
        ("postgresql://u:hunter2@db:port/app", "is not a URL"),
        ("postgresql://u:hun@ter2@db/app", "write it as %40"),
        ("postgresql://u:hunter2@db/app?sslmode=maybe", "unknown sslmode"),
        ("postgresql://u:hunter2@db/app?options=-c", "unknown option 'options'"),
    ],
)
def test_other_urls_are_refused_in_one_line_without_the_password(
    given: str, complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SettingsError, match=complaint) as caught:
        url_of(given, monkeypatch)
    message = str(caught.value)
    assert message.startswith("settings: DATABASE_URL ")
    assert "\n" not in message
    assert "hunter2" not in message
    assert "ter2" not in message


@pytest.mark.parametrize("given", [None, ""])
async def test_a_missing_url_is_named_where_it_is_needed(given: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    if given is not None:
        monkeypatch.setenv("DATABASE_URL", given)
    engine = create_engine(load_settings(DatabaseSettings))
    with pytest.raises(SettingsError, match="DATABASE_URL is not set"):
        await engine.connect()
    await engine.dispose()


def test_the_password_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:hunter2@db/app")
    settings = load_settings(DatabaseSettings)
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in str(settings.parsed_url().url)


def test_the_pool_needs_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u@db/app")
    monkeypatch.setenv("DATABASE_POOL_SIZE", "0")
    with pytest.raises(SettingsError, match="DATABASE_POOL_SIZE"):
        load_settings(DatabaseSettings)
