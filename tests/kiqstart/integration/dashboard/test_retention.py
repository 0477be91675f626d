from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from tests.kiqstart.integration.dashboard.browser import VIEWER, browsing, text_of

from kiqstart.app import App
from kiqstart.broker.broker import StreamBroker
from kiqstart.retention import RetentionEngine, RetentionPolicies, RetentionPolicy
from todo_service.core.todo.models import Todo


def policy(name: str) -> RetentionPolicy:
    return RetentionPolicy(name=name, model=Todo, predicate=Todo.completed_at.is_not(None))


async def test_policies_are_shown_with_their_last_runs(
    broker: StreamBroker, session_factory: async_sessionmaker[AsyncSession]
) -> None:
    engine = RetentionEngine(session_factory)
    await engine.run(policy("ran"), run_id="first")
    await engine.run(policy("<b>gone"), run_id="of a policy that the code has no more")
    policies = RetentionPolicies(engine, lambda: [policy("ran"), policy("waits")])
    async with browsing(App(broker=broker, retention=policies)) as browser:
        await browser.log_in(VIEWER)
        page = await browser.get("/retention")
        text = text_of(page)
        assert "ran Its last runs, newest first" in text
        assert "UTC" in text.partition("Cannot go State")[2]
        assert " end " in text
        assert "waits It has not run in the last 30 days." in text
        assert "<b>gone" not in page.text
        assert "<b>gone Its last runs" in text


async def test_without_postgresql_there_is_a_line(broker: StreamBroker) -> None:
    away = RetentionEngine(create_async_engine("postgresql+asyncpg://u:swordfish-7@127.0.0.1:1/x"))
    async with browsing(App(broker=broker, retention=RetentionPolicies(away, list))) as browser:
        await browser.log_in(VIEWER)
        page = await browser.get("/retention")
        assert page.status_code == 503
        assert "A server cannot be used" in text_of(page)
        assert "swordfish" not in page.text


async def test_an_application_without_policies_has_no_such_page(broker: StreamBroker) -> None:
    async with browsing(broker) as browser:
        await browser.log_in(VIEWER)
        assert (await browser.get("/retention")).status_code == 404
        assert "Retention" not in text_of(await browser.get("/"))
