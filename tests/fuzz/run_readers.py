"""Reads what the run store holds as operators do: on the dashboard's pages, and by commands."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.fuzz.judge import FindingError, check_printed
from tests.fuzz.run_command import check_ended, run_command_line
from tests.fuzz.surface import Ground
from tests.fuzz.surfaces.dashboard import check_page
from tests.kiqstart.integration.broker.brokers import Brokers
from tests.kiqstart.integration.dashboard.browser import VIEWER, browsing, text_of
from tests.kiqstart.integration.retention.policies import completed_todos

from kiqstart.app import App
from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.settings import TasksSettings
from kiqstart.retention import RetentionEngine, RetentionPolicies
from kiqstart.testing.servers import delete_keys_of

_COMMANDS: Final = (
    ("retention", "list"),
    ("retention", "list", "--json"),
    ("retention", "history", "--limit", "100"),
    ("retention", "history", "--limit", "100", "--json"),
    ("metrics",),
)


@dataclass(frozen=True, kw_only=True)
class RunReaders:
    """Whoever reads runs.

    Args:
        counts: what Redis has of clean-ups, for the metrics.
        sound: a policy whose run is sound, whatever lies beside it.
    """

    ground: Ground
    prefix: str
    counts: dict[bytes, bytes]
    sound: str

    @property
    def _keys(self) -> QueueKeys:
        return TasksSettings(key_prefix=self.prefix).keys

    async def browse(self, pool: AsyncEngine) -> None:
        """Look at the pages that show runs and their figures."""
        brokers = Brokers(self.ground.redis_url, self._keys.name)
        async with Redis.from_url(self.ground.redis_url) as redis:
            for name, value in self.counts.items():
                await redis.hset(self._keys.retention_stats, cast("str", name), cast("str", value))
        policies = RetentionPolicies(RetentionEngine(pool), lambda: [completed_todos(None)])
        async with browsing(App(broker=brokers(), retention=policies)) as browser:
            await browser.log_in(VIEWER)
            page = await browser.get("/retention")
            check_page(page)
            # Of a policy of the application, how it stands is between its name and its charts.
            shown = rf"{re.escape(self.sound)} (Last success .{{1,300}}? )?Rows, by run"
            if page.status_code != 200 or re.search(shown, text_of(page)) is None:
                raise FindingError(f"a sound run is not shown: {page.status_code} {text_of(page)[:500]}")
            metrics = await browser.get("/metrics")
            if metrics.status_code != 200 or "kiqstart_retention_rows_total" not in metrics.text:
                raise FindingError(f"there are no figures: {metrics.status_code} {metrics.text[:500]}")
            check_printed(metrics.text)
        await brokers.close()

    def run_commands(self, folder: Path) -> None:
        """Run the commands that print runs and their figures."""
        environment = {"REDIS_URL": self.ground.redis_url, "DATABASE_URL": self.ground.database_url}
        for command in _COMMANDS:
            ended = run_command_line(
                command, environment={**environment, "TASKS_KEY_PREFIX": self.prefix}, folder=folder
            )
            check_ended(ended)
            if ended.code != 0:
                raise FindingError(f"{command} fails: {ended.err[:500]}")
            if "--json" not in command:
                continue
            printed = json.loads(ended.out, parse_constant=_refuse)
            if "history" in command and self.sound not in [one["policy"] for one in printed]:
                raise FindingError(f"a sound run is not listed: {ended.out[:500]}")

    async def forget(self) -> None:
        """Leave nothing in Redis."""
        await delete_keys_of(self.ground.redis_url, self.prefix)


def _refuse(constant: str) -> None:
    raise FindingError(f"{constant} is no JSON")
