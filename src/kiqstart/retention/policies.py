"""The retention policies of an application, for the checks that are made before any of them runs."""

from collections.abc import Callable, Mapping, Sequence
from logging import getLogger
from types import MappingProxyType
from typing import Final

from kiqstart.errors import OperatorError
from kiqstart.retention.dry_run import DryRun
from kiqstart.retention.engine import RetentionEngine
from kiqstart.retention.errors import PolicyError, RetentionError, RetentionSchemaError, UnknownPolicyError
from kiqstart.retention.policy import RetentionPolicy
from kiqstart.retention.preview import RetentionPreview

logger = getLogger(__name__)

_NO_TASKS: Final[Mapping[str, str]] = MappingProxyType({})


class RetentionPolicies:
    """Every policy, as it would be run now with the least age.

    Args:
        engine: runs them.
        policies: gives them; it is asked each time, since what is old enough depends on the time.
        tasks: the task that runs a policy, by the policy's name; for the others it is `retention.run`, where the
            application has that.
    """

    def __init__(
        self,
        engine: RetentionEngine,
        policies: Callable[[], Sequence[RetentionPolicy]],
        *,
        tasks: Mapping[str, str] = _NO_TASKS,
    ) -> None:
        self._engine = engine
        self._policies = policies
        self._tasks = dict(tasks)

    @property
    def engine(self) -> RetentionEngine:
        """What runs them."""
        return self._engine

    @property
    def tasks(self) -> Mapping[str, str]:
        """The task that runs a policy, by the policy's name, as far as it was said."""
        return self._tasks

    def all(self) -> list[RetentionPolicy]:
        """Return the policies."""
        return list(self._policies())

    def named(self, name: str) -> RetentionPolicy:
        """Return the policy of a name.

        Raises:
            UnknownPolicyError: there is none.
        """
        known = {one.name: one for one in self.all()}
        if name not in known:
            raise UnknownPolicyError(name, known)
        return known[name]

    async def migrate(self) -> None:
        """Make the engine's tables, or bring them up to date.

        Raises:
            OperatorError: they are of a later version of kiqstart.
        """
        try:
            await self._engine.migrate()
        except RetentionSchemaError as error:
            raise OperatorError(str(error)) from None

    async def check(self) -> None:
        """Log which way each policy goes through its table, and why.

        Raises:
            OperatorError: one cannot be run, or the engine's tables are not there; the text says what to do.
        """
        policies = self.all()
        try:
            choices = await self._engine.check(policies)
        except RetentionError as error:
            raise OperatorError(str(error)) from None
        for policy, choice in zip(policies, choices, strict=True):
            logger.info("%s: would go along the %s: %s", policy.name, choice.kind.described, choice.reason)

    async def preview(self, policy: RetentionPolicy) -> RetentionPreview:
        """Say how many rows one would delete now, and which way.

        Raises:
            OperatorError: it cannot be run; the text has the index to create.
        """
        try:
            return await self._engine.preview(policy)
        except PolicyError as error:
            raise OperatorError(str(error)) from None

    async def dry_run(self, policy: RetentionPolicy, *, sample: int) -> DryRun:
        """Say by which statement and plan, and show so many of the rows.

        Raises:
            OperatorError: it cannot be run; the text has the index to create.
        """
        try:
            return await self._engine.dry_run(policy, sample=sample)
        except PolicyError as error:
            raise OperatorError(str(error)) from None
