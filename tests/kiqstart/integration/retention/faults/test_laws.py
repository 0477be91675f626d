"""What holds whatever runs, writers, locks and losses of connections do at once, statement by statement."""

import asyncio

import pytest
from hypothesis import given
from sqlalchemy import URL
from sqlalchemy.ext.asyncio import async_sessionmaker
from tests.deadlines import HANG
from tests.kiqstart.integration.retention.examples import examples
from tests.kiqstart.integration.retention.faults.cases import Case, cases
from tests.kiqstart.integration.retention.faults.world import World, world
from tests.service import database_settings

from kiqstart.retention.report import RetentionReport


async def quiet_runs(there: World) -> list[RetentionReport]:
    """Ask each run for its report, which brings it to its end, then go through the table once more."""
    retention = there.retention(async_sessionmaker(there.admin))
    reports = [await retention.run(there.case.policy, run_id=run_id) for run_id in there.row_limits]
    is_last = False
    while not is_last:
        reports.append(await retention.run(there.case.policy))
        # One that goes on with what another has left does not look at what came to the part before.
        is_last = not reports[-1].resumed
    return reports


async def check_laws(url: URL, case: Case) -> None:
    async with asyncio.timeout(HANG), world(url, case) as there:
        for event in case.events:
            await there.happen(event)
        assert await there.come_to_rest() == [], "no run fails"
        reports = await quiet_runs(there)
        contents, left = there.contents, await there.contents.left()

    deleted = contents.rows.keys() - left.keys()
    expired = {key for key in contents.rows if contents.is_expired(key)}
    assert left == {key: row for key, row in contents.rows.items() if key in left}, "the rest is unchanged"
    assert deleted == expired - contents.pinned, "exactly the policy's rows are gone"
    assert sum(report.deleted for report in reports) == len(deleted), "each is counted once"
    assert (reports[-1].failed, reports[-1].skipped) == (len(expired & contents.pinned), 0)
    for report in reports:
        limit = there.row_limits.get(report.run_id)
        assert limit is None or report.deleted <= limit


@pytest.mark.usefixtures("tables")
@examples(5)
@given(case=cases())
def test_exactly_the_policys_rows_go_and_each_is_counted_once(database_url: str, case: Case) -> None:
    asyncio.run(check_laws(database_settings(database_url).parsed_url().url, case))
