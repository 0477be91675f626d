import re
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import literal_column
from sqlalchemy import text as text_clause
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from tests.kiqstart.integration.dashboard.browser import VIEWER, browsing, text_of

from kiqstart.app import App
from kiqstart.broker.broker import StreamBroker
from kiqstart.retention import RetentionEngine, RetentionPolicies, RetentionPolicy
from kiqstart.tasks.registration import register_task
from todo_service.core.todo.models import Todo
from todo_service.core.user.models import User
from todo_service.infrastructure.database.database import service_database


def policy(name: str) -> RetentionPolicy:
    return RetentionPolicy(name=name, model=Todo, predicate=Todo.completed_at.is_not(None))


def policies_of(names: Iterable[str]) -> list[RetentionPolicy]:
    return [policy(name) for name in names]


async def test_policies_are_shown_with_their_last_runs(
    broker: StreamBroker, session_factory: async_sessionmaker[AsyncSession]
) -> None:
    engine = RetentionEngine(session_factory)
    wrong = RetentionPolicy(name="wrong", model=Todo, predicate=literal_column("nothing_of_that_name") > 0)
    await engine.run(policy("ran"), run_id="first")
    await engine.run(policy("<b>gone"), run_id="of a policy that the code has no more")
    policies = RetentionPolicies(engine, lambda: [policy("ran"), policy("waits"), wrong])
    async with browsing(App(broker=broker, retention=policies)) as browser:
        await browser.log_in(VIEWER)
        page = await browser.get("/retention")
        text = text_of(page)
        assert "Its last runs, newest first" in text.partition(" ran ")[2]
        assert "UTC" in text.partition("Cannot go State")[2]
        assert " end " in text
        assert "It has not run in the last 30 days." in text.partition(" waits ")[2]
        assert "<b>gone" not in page.text
        assert "<b>gone Last success" in text
        assert "Last run end Policy the application has it no more Rows, by run" in text
        ran = text.partition(" ran ")[2].partition(" waits ")[0]
        assert re.match(
            r"Last success \S+ \S+ UTC, \d+(\.\d)? m?s ago Last run end Backlog about 0 rows Run by no task", ran
        )
        waits = text.partition(" waits ")[2]
        assert waits.startswith("Last success none that is known Last run none that is known Backlog about 0 rows ")
        cannot = text.partition(" wrong ")[2]
        assert cannot.startswith("It cannot be run: ")
        assert "Backlog -" in cannot
        overview = text_of(await browser.get("/"))
        assert "Retention look retention policy 'wrong': PostgreSQL cannot run" in overview


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


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"host": "127.0.0.1", "port": 1, "query": {}}, "cannot reach PostgreSQL at 127.0.0.1:1/"),
        ({"username": "nobody_of_that_name"}, "nobody_of_that_name"),
    ],
)
async def test_a_postgresql_that_is_away_or_refuses_the_login_is_a_line_on_each_page(
    broker: StreamBroker, engine: AsyncEngine, change: dict[str, Any], said: str
) -> None:
    refused = create_async_engine(engine.url.set(password="swordfish-7", **change))
    policies = RetentionPolicies(RetentionEngine(refused), lambda: [policy("ran")])
    app = App(broker=broker, retention=policies, database=service_database(refused))
    async with browsing(app) as browser:
        await browser.log_in(VIEWER)
        page = await browser.get("/retention")
        assert page.status_code == 503
        assert "A server cannot be used" in text_of(page)
        overview = await browser.get("/")
        assert overview.status_code == 200
        [line] = re.findall(r"PostgreSQL look (.*?) Waiting", text_of(overview))
        assert said in line
        # What cannot be seen for that is not said as if it were another fault.
        assert not {"Schema", "Retention look"} & {*line.split()}
        assert "swordfish" not in page.text + overview.text
        figures = await browser.get("/metrics")
        assert checks_in(figures.text) == {"PostgreSQL": 0}
    await refused.dispose()


def checks_in(figures: str) -> dict[str, float]:
    found = re.findall(r'^kiqstart_check_ok{check="(.*?)",.*} (.*)$', figures, re.MULTILINE)
    return {name: float(value) for name, value in found}


async def test_the_state_of_postgresql_is_on_the_overview(
    broker: StreamBroker, engine: AsyncEngine, session_factory: async_sessionmaker[AsyncSession]
) -> None:
    policies = RetentionPolicies(RetentionEngine(session_factory), lambda: [policy("ran")])
    database = service_database(engine)
    app, head = App(broker=broker, retention=policies, database=database), await database.check()
    async with browsing(app) as browser:
        await browser.log_in(VIEWER)
        text = text_of(await browser.get("/"))
        assert re.search(r"PostgreSQL ok [0-9.]+ .*Schema ok \S+ Retention ok 1 policy can be run", text)
    async with engine.begin() as connection:
        await connection.execute(text_clause("ALTER TABLE retention_runs RENAME TO mine"))
        await connection.execute(text_clause("UPDATE alembic_version SET version_num = 'later'"))
    try:
        async with browsing(app) as browser:
            await browser.log_in(VIEWER)
            text, page = text_of(await browser.get("/")), await browser.get("/retention")
            figures = await browser.get("/metrics")
    finally:
        async with engine.begin() as connection:
            await connection.execute(text_clause("ALTER TABLE mine RENAME TO retention_runs"))
            revision = "UPDATE alembic_version SET version_num = :version"
            await connection.execute(text_clause(revision), {"version": head})
    assert "Schema look the database's schema is at later, which this version does not know" in text
    assert "Retention look the table retention_runs is not there, though " in text
    assert page.status_code == 503
    assert "the table retention_runs is not there" in text_of(page)
    assert checks_in(figures.text) == {"PostgreSQL": 1, "Schema": 0, "Retention": 0}


async def test_a_role_that_may_read_the_runs_alone_sees_these(
    broker: StreamBroker, engine: AsyncEngine, session_factory: async_sessionmaker[AsyncSession], key_prefix: str
) -> None:
    await RetentionEngine(session_factory).run(policy("ran"))
    role = key_prefix.replace("-", "_")
    statements = [
        f"CREATE ROLE {role} LOGIN PASSWORD '{role}'",
        f"GRANT USAGE ON SCHEMA public TO {role}",
        f"GRANT SELECT ON retention_runs TO {role}",
    ]
    async with engine.begin() as connection:
        for statement in statements:
            await connection.execute(text_clause(statement))
    looking = create_async_engine(engine.url.set(username=role, password=role))
    try:
        policies = RetentionPolicies(RetentionEngine(looking), lambda: [policy("ran")])
        async with browsing(App(broker=broker, retention=policies)) as browser:
            await browser.log_in(VIEWER)
            page = await browser.get("/retention")
    finally:
        await looking.dispose()
        async with engine.begin() as connection:
            for statement in (f"DROP OWNED BY {role}", f"DROP ROLE {role}"):
                await connection.execute(text_clause(statement))
    assert page.status_code == 200
    text = text_of(page)
    assert "How the policies stand is not known: permission denied for table retention_version" in text
    assert "Last run end" in text
    assert "the application has it no more" not in text


async def test_an_application_without_policies_has_no_such_page(broker: StreamBroker) -> None:
    async with browsing(broker) as browser:
        await browser.log_in(VIEWER)
        assert (await browser.get("/retention")).status_code == 404
        assert "Retention" not in text_of(await browser.get("/"))


async def test_a_policy_whose_rows_were_not_gone_through_for_long_is_named_on_the_overview(
    broker: StreamBroker, redis: Redis, session_factory: async_sessionmaker[AsyncSession]
) -> None:
    engine, now = RetentionEngine(session_factory), int(datetime.now(UTC).timestamp())
    await redis.hset(broker.keys.retention_stats, "stale\nlast_success", str(now - 3 * 86400))
    await redis.hset(broker.keys.retention_stats, "good\nlast_success", str(now - 86400))
    # Of this one Redis has forgotten that it has run.
    await engine.run(policy("forgotten"), run_id="first")
    policies = RetentionPolicies(engine, lambda: [policy(name) for name in ("stale", "good", "forgotten", "new")])
    async with browsing(App(broker=broker, retention=policies)) as browser:
        await browser.log_in(VIEWER)
        overview = text_of(await browser.get("/"))
        assert "Clean-ups look the last clean-up by 'stale' that went through all rows was 3 d ago; " in overview
        assert not {"'good'", "'forgotten'", "'new'"} & {*overview.split()}
        # It is nothing that keeps a policy from being run.
        assert 'kiqstart_check_ok{check="Retention"' in (figures := (await browser.get("/metrics")).text)
        assert "Clean-ups" not in figures


async def test_a_policy_whose_runs_never_came_to_an_end_is_named_on_the_overview(
    broker: StreamBroker, session_factory: async_sessionmaker[AsyncSession]
) -> None:
    engine = RetentionEngine(session_factory)
    await engine.run(policy("endless"), run_id="first")
    await engine.run(policy("done"), run_id="first")
    async with session_factory() as session:
        changed = "UPDATE retention_runs SET started_at = started_at - interval '3 days'"
        await session.execute(text_clause(f"{changed}, stopped = 'row limit' WHERE policy = 'endless'"))
        await session.commit()
    for names, said in (
        (
            ("endless", "done"),
            "no clean-up by 'endless' has gone through all rows since the first that is known, 3 d ago",
        ),
        (
            ("done", "new"),
            "all rows of 1 of 2 policies were gone through within two days; of 'new' no such clean-up is",
        ),
    ):
        policies = RetentionPolicies(engine, partial(policies_of, names))
        async with browsing(App(broker=broker, retention=policies)) as browser:
            await browser.log_in(VIEWER)
            assert said in text_of(await browser.get("/"))


async def test_a_policy_is_run_by_its_task(
    broker: StreamBroker, session_factory: async_sessionmaker[AsyncSession]
) -> None:
    async def clean() -> None: ...

    register_task(broker, clean, name="todo.clean")
    policies = RetentionPolicies(
        RetentionEngine(session_factory), partial(policies_of, ["done", "nobodys"]), tasks={"done": "todo.clean"}
    )
    app = App(broker=broker, retention=policies)
    async with browsing(app) as browser:
        await browser.log_in(VIEWER)
        assert "/retention/run" not in (await browser.get("/retention")).text
        assert (await browser.get("/retention/run?policy=done")).status_code == 403
    async with browsing(app) as browser:
        await browser.log_in()
        assert re.findall(r"/retention/run[^\"]+", (await browser.get("/retention")).text) == [
            "/retention/run?policy=done"
        ]
        asked = text_of(await browser.get("/retention/run?policy=done"))
        assert "Run the policy 'done' now? It sends todo.clean. About 0 rows are to go." in asked
        said = text_of(await browser.submit("/retention/run?policy=done", reason="the disk is full"))
        task_id = re.findall(r"The policy 'done' is run by the task (\w+)", said)[0]
        assert f"todo.clean {task_id} the disk is full" in text_of(await browser.get("/acts"))
        assert "Task todo.clean" in text_of(await browser.get(f"/runs/task?id={task_id}"))
        for name, problem in (("nobodys", "no task runs the policy"), ("none", "none")):
            assert problem in text_of(await browser.get(f"/retention/run?policy={name}"))
