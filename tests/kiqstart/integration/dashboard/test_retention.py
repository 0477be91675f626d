from datetime import UTC, datetime

import pytest
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from tests.kiqstart.integration.dashboard.browser import VIEWER, browsing, text_of

from kiqstart.app import App
from kiqstart.broker.broker import StreamBroker
from kiqstart.retention import RetentionEngine, RetentionPolicies, RetentionPolicy
from todo_service.core.todo.models import Todo
from todo_service.core.user.models import User


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
        assert "Its last runs, newest first" in text.partition(" ran ")[2]
        assert "UTC" in text.partition("Cannot go State")[2]
        assert " end " in text
        assert "waits It has not run in the last 30 days." in text
        assert "<b>gone" not in page.text
        assert "<b>gone Rows, by run" in text


async def test_charts_say_what_the_last_runs_deleted_and_how_long_their_batches_took(
    broker: StreamBroker, session_factory: async_sessionmaker[AsyncSession]
) -> None:
    engine = RetentionEngine(session_factory)
    await engine.run(policy("nightly"), run_id="first")
    async with session_factory() as session:
        user = User(username="ada", email="ada@example.com")
        session.add(user)
        await session.flush()
        done = datetime.now(UTC)
        session.add_all(
            Todo(user_id=user.id, title=str(number), is_completed=True, completed_at=done) for number in range(1200)
        )
        await session.commit()
    await engine.run(policy("nightly"), run_id="second")
    policies = RetentionPolicies(engine, lambda: [policy("nightly")])
    async with browsing(App(broker=broker, retention=policies)) as browser:
        await browser.log_in(VIEWER)
        page = await browser.get("/retention")
        assert 'role="img" aria-label="Rows, by run: 1,200 rows in 2 runs, at most 1,200 rows, at ' in page.text
        assert 'role="img" aria-label="Longest batch, by run: ' in page.text
        # Each bar says what it is, and the table below says the same.
        assert "<title>" in page.text
        assert ": 1,200 rows, end</title>" in page.text
        assert "Rows Batches Longest batch" in text_of(page)


async def test_a_policy_that_runs_often_hides_no_other(
    broker: StreamBroker, session_factory: async_sessionmaker[AsyncSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kiqstart.dashboard.pages.retention._MOST_READ", 2)
    engine = RetentionEngine(session_factory)
    for name in ("rare", "often", "often"):
        await engine.run(policy(name))
    policies = RetentionPolicies(engine, lambda: [policy("rare"), policy("often")])
    async with browsing(App(broker=broker, retention=policies)) as browser:
        await browser.log_in(VIEWER)
        assert "It has not run" not in text_of(await browser.get("/retention"))


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
