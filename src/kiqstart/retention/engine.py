"""Deletes what a policy names, in batches that nobody else notices."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from logging import getLogger
from uuid import uuid4

from sqlalchemy import delete
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from kiqstart.processes.forked_pool import ForkedPool
from kiqstart.retention.ceilings import lower
from kiqstart.retention.dry_run import DryRun, dry_run
from kiqstart.retention.errors import RetentionSchemaError
from kiqstart.retention.figures import count_run
from kiqstart.retention.history import PastRun, read_history
from kiqstart.retention.load import LoadCheck, LoadGate, PostgresLoad
from kiqstart.retention.models import RetentionRun, UndeletableRow
from kiqstart.retention.planner import ScanChoice, choose_scan
from kiqstart.retention.policy import RetentionPolicy
from kiqstart.retention.preview import RetentionPreview, preview
from kiqstart.retention.progress import ProgressCallback, ProgressMeter
from kiqstart.retention.quarantine import Quarantine
from kiqstart.retention.report import RetentionReport, StopReason
from kiqstart.retention.run import Run
from kiqstart.retention.run_options import RunLimits, check_count, check_run_options
from kiqstart.retention.run_report import report_of
from kiqstart.retention.run_store import RunStore
from kiqstart.retention.schema import check_columns, check_tables, missing_tables, upgrade_retention
from kiqstart.retention.settings import RetentionSettings
from kiqstart.retention.spans import traced
from kiqstart.retention.standing import PolicyStanding, read_standing
from kiqstart.retention.transaction import Transactions, promptly, to_its_end, transaction

logger = getLogger(__name__)


class RetentionEngine:
    """Runs policies. Where a run stands is kept in the table `retention_runs`, with each batch.

        report = await RetentionEngine(engine).run(policy)

    Args:
        database: the database's engine, or what makes sessions of it.
        settings: how considerate the runs are; None for the defaults.
        load: says when others come first; None looks at replicas and lock queues, as the settings say.
    """

    def __init__(
        self,
        database: AsyncEngine | async_sessionmaker[AsyncSession],
        *,
        settings: RetentionSettings | None = None,
        load: LoadCheck | None = None,
    ) -> None:
        self._sessions = async_sessionmaker(database) if isinstance(database, AsyncEngine) else database
        self._settings = settings or RetentionSettings()
        self._load = load or PostgresLoad(settings=self._settings)
        bind = self._sessions().bind
        # Forked children leave the connections alone.
        self._forked_pool = ForkedPool(bind) if isinstance(bind, AsyncEngine) else None

    async def migrate(self) -> None:
        """Make the engine's tables, or bring them up to date.

        Raises:
            RetentionSchemaError: they are of a later version of kiqstart, or one is gone that had been made.
        """
        async with transaction(self._sessions) as connection:
            await connection.run_sync(upgrade_retention)
            await check_columns(connection)

    async def check_tables(self) -> None:
        """Return if the engine's own tables are there.

        Raises:
            RetentionSchemaError: they are not, or of another version.
        """
        async with transaction(self._sessions) as connection:
            await check_tables(connection)

    async def forget_runs(self) -> None:
        """Empty the engine's own tables, so that no run goes on with what another one left: for tests."""
        async with transaction(self._sessions) as connection:
            for mapped in (RetentionRun, UndeletableRow):
                await connection.execute(delete(mapped))

    async def close(self) -> None:
        """Let all connections of the database's engine go."""
        bind = self._sessions().bind
        if isinstance(bind, AsyncEngine):
            await bind.dispose()

    async def run(
        self,
        policy: RetentionPolicy,
        *,
        run_id: str | None = None,
        limits: RunLimits | None = None,
        shards: int = 1,
        invite: Callable[[int], Awaitable[None]] | None = None,
        progress: ProgressCallback | None = None,
        stop: asyncio.Event | None = None,
    ) -> RetentionReport:
        """Delete the policy's rows that are there when the run begins, and say what was done.

        A run goes on where the last one with the same id was interrupted, or else with what the policy's last run left
        when it was interrupted or came to its limit. A row that is locked or cannot be deleted costs the others
        nothing. A lost server is waited for. When the run is cancelled, the batch that is under way is finished first;
        `report` then tells what was done.

        Args:
            policy: what to delete.
            run_id: names the run for whoever goes on with it; by default it has a name of its own.
            limits: when to stop early.
            shards: the number of shards (1 to 64); others take part by `join`.
            invite: is called with the number of others that have something to do, before the work begins.
            progress: is called about ten times a second at most.
            stop: the run stops between two batches once this is set.

        Raises:
            PolicyError: the policy cannot be run as it is written.
            RetentionSchemaError: the engine's own tables are not there, or of another version.
            InvalidRunOptionError: a limit or the number of shards is out of its range.
            sqlalchemy.exc.DBAPIError: the database failed otherwise than by a row.
            OSError: the server did not come back in time.
        """
        limits = limits or RunLimits()
        check_run_options(run_id, limits, shards)
        meter = ProgressMeter(progress)
        with traced("run", policy) as facts:
            async with self._run(policy, run_id or str(uuid4()), limits=limits, meter=meter, stop=stop) as run:
                report = await promptly(self._run_to_end(run, shards, invite))
            facts |= {"rows": report.deleted, "batches": report.batches, "stopped": report.stopped.value}
        return report

    async def _run_to_end(
        self, run: Run, most_shards: int, invite: Callable[[int], Awaitable[None]] | None
    ) -> RetentionReport:
        policy = run.policy.name
        try:
            to_do = await run.open(most_shards)
            if invite is not None and to_do > 1:
                await invite(to_do - 1)
            await run.take_part()
            shards = await run.wait_for_others()
        except asyncio.CancelledError:
            logger.warning("%s: cancelled; run %s can be resumed", policy, run.run_store.run_id)
            raise
        finally:
            await to_its_end(run.release())
        report = await report_of(run, shards)
        count_run(report)
        await run.meter.report_end(report.deleted, is_complete=report.stopped is StopReason.END)
        logger.info(
            "%s: %d rows deleted in %.1f s, of which it rested %.1f s, stopped at: %s",
            policy,
            report.deleted,
            report.seconds,
            report.rested,
            report.stopped,
        )
        for note in report.notes:
            logger.warning("%s: %s", policy, note)
        return report

    async def join(self, policy: RetentionPolicy, run_id: str, *, stop: asyncio.Event | None = None) -> None:
        """Take part in a run that another worker has opened, until there is nothing to take.

        Raises:
            sqlalchemy.exc.DBAPIError: the database failed otherwise than by a row.
            OSError: the server did not come back in time.
        """

        async def take_part(run: Run) -> None:
            try:
                await run.take_part()
            finally:
                await to_its_end(run.release())

        with traced("join", policy):
            async with self._run(policy, run_id, stop=stop) as run:
                await promptly(take_part(run))

    async def report(self, policy: RetentionPolicy, run_id: str) -> RetentionReport | None:
        """Say what a run has done so far, also one that was cancelled or killed; None if there is no such run."""
        async with self._run(policy, run_id) as run:
            async with run.transactions.begin() as connection:
                shards = await run.run_store.shards(connection)
            return await report_of(run, shards) if shards else None

    async def preview(self, policy: RetentionPolicy) -> RetentionPreview:
        """Say what a run would delete, and which way it would go.

        Raises:
            PolicyError: the policy cannot be run as it is written.
        """
        async with self._sessions() as session:
            return await preview(await session.connection(), policy)

    async def dry_run(self, policy: RetentionPolicy, *, sample: int = 5) -> DryRun:
        """Say what a run's first batch would be, by which plan, and some of the rows; nothing can be written.

        Raises:
            PolicyError: the policy cannot be run as it is written.
            InvalidRunOptionError: the sample's size is out of its range.
        """
        check_count("sample", sample, least=0)
        async with self._sessions() as session:
            return await dry_run(await session.connection(), policy, sample=sample)

    async def history(self, policy: str | None = None, *, limit: int = 50) -> list[PastRun]:
        """The newest runs of a policy, or of all, newest first: those that go on, and those of the last thirty days.

        Raises:
            RetentionSchemaError: the engine's own tables are not there, or behind.
            InvalidRunOptionError: the limit is out of its range.
        """
        check_count("limit", limit, least=0)
        try:
            async with transaction(self._sessions) as connection:
                return await read_history(connection, self._settings.takeover_after, policy=policy, limit=limit)
        except DBAPIError as error:
            raise await self._explained(error) from None

    async def standing(self, policy: RetentionPolicy) -> PolicyStanding:
        """Say how a policy stands: what it names, about how much of that there is, and what cannot go.

        Raises:
            PolicyError: the policy cannot be run as it is written.
            RetentionSchemaError: the engine's own tables are not there, or of another version.
        """
        quarantine = Quarantine(policy=policy, seconds=self._settings.for_policy(policy).retry_failed_after)
        async with transaction(self._sessions) as connection:
            await check_tables(connection)
            await check_columns(connection)
            return await read_standing(connection, policy, quarantine)

    async def check(self, policies: Sequence[RetentionPolicy]) -> list[ScanChoice]:
        """Return which way each policy's run would go.

        Raises:
            PolicyError: one of them cannot be run as it is written.
            RetentionSchemaError: the engine's own tables are not there, or of another version.
        """
        async with transaction(self._sessions) as connection:
            await check_tables(connection)
            await check_columns(connection)
            return [await choose_scan(connection, policy) for policy in policies]

    @asynccontextmanager
    async def _run(
        self,
        policy: RetentionPolicy,
        run_id: str,
        *,
        limits: RunLimits = RunLimits(),  # noqa: B008 - frozen
        meter: ProgressMeter | None = None,
        stop: asyncio.Event | None = None,
    ) -> AsyncGenerator[Run]:
        ceilings = policy.ceilings
        run = Run(
            transactions=Transactions(sessions=self._sessions),
            policy=policy,
            run_store=RunStore.of(policy.name, run_id, self._settings.takeover_after),
            settings=self._settings.for_policy(policy),
            # A run that waits must show life more often than it is looked for.
            load=LoadGate(check=self._load, seconds_between=min(1.0, self._settings.takeover_after / 3)),
            stop=stop or asyncio.Event(),
            limits=RunLimits(rows=lower(limits.rows, ceilings.rows), seconds=lower(limits.seconds, ceilings.seconds)),
            meter=meter or ProgressMeter(None),
        )
        try:
            yield run
        except DBAPIError as error:
            if (explained := await self._explained(error)) is not error:
                raise explained from None
            raise
        finally:
            await run.transactions.give_back()

    async def _explained(self, error: DBAPIError) -> Exception:
        """What is wrong with the engine's own tables, if that is what an error is about; else the error."""
        if (missing := missing_tables(error)) is None:
            return error
        try:
            async with transaction(self._sessions) as connection:
                await check_tables(connection)
                await check_columns(connection)
        except RetentionSchemaError as exact:
            return exact
        except (DBAPIError, OSError):
            logger.debug("What is wrong with the engine's tables cannot be looked at")
        return missing
