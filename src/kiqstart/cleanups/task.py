"""The task `retention.run`: any of an application's policies, by its name."""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import Annotated, Final, Unpack, cast

from pydantic import AfterValidator
from taskiq import AsyncBroker, Context, TaskiqDepends
from taskiq.depends.progress_tracker import ProgressTracker

from kiqstart.cleanups.runner import CleanupDelayedError, CleanupOptions, CleanupProgress, CleanupResult, CleanupRunner
from kiqstart.processes.shutdown import ShutdownSignal
from kiqstart.retention.errors import UnknownPolicyError
from kiqstart.retention.policies import RetentionPolicies
from kiqstart.tasks.controller import Controller
from kiqstart.tasks.registration import register_task

RETENTION_RUN: Final = "retention.run"


@dataclass(frozen=True, kw_only=True)
class RetentionTask(Controller):
    """Runs retention policies by their names, so that one is sent or scheduled without a task of its own.

        class TasksRegistry(BaseTasksRegistry):
            retention_run = TaskReference(TaskName.RETENTION_RUN, RetentionTask.run)

        registry.register([RetentionTask(policies=policies)], TaskName)
        await registry.retention_run.kiq("old_orders", row_limit=1_000_000)

    Args:
        policies: the application's.
        shutdown: tells that the worker is to end.
    """

    policies: RetentionPolicies
    shutdown: ShutdownSignal = field(default_factory=ShutdownSignal)

    def register(self, registry: AsyncBroker) -> None:
        """Register `retention.run`; what passes, such as a server that is gone, is tried again three times."""
        self.shutdown.follow(registry)
        register_task(
            registry,
            self._run_of_known(),
            name=RETENTION_RUN,
            max_retries=3,
            retry_delay=60,
            retry_on=(CleanupDelayedError,),
            unique="retention.run:{policy}:{dry_run}",
        )

    async def run(
        self,
        policy: str,
        *,
        dry_run: bool = False,
        context: Context = TaskiqDepends(),
        progress: ProgressTracker[CleanupProgress] = TaskiqDepends(),
        **options: Unpack[CleanupOptions],
    ) -> CleanupResult:
        """Delete what the policy names.

        Args:
            policy: its name.
            dry_run: whether to say only what would be deleted.
            context: is filled in.
            progress: is filled in.
            options: see `CleanupOptions`.

        Raises:
            InvalidTaskArgumentsError: out of `kiq()`, and at start of a schedule: there is no policy of that name.
        """
        runner = CleanupRunner(engine=self.policies.engine, shutdown=self.shutdown)
        return await runner.run(self.policies.named(policy), context, progress, dry_run=dry_run, **options)

    def _run_of_known(self) -> Callable[..., Awaitable[CleanupResult]]:
        """`run`, whose parameter `policy` takes no other names than those of the policies."""
        method = cast("Callable[..., Awaitable[CleanupResult]]", self.run)

        @wraps(method)
        async def run(*args: object, **kwargs: object) -> CleanupResult:
            return await method(*args, **kwargs)

        signature = inspect.signature(method)
        known = {"policy": Annotated[str, AfterValidator(self._known)]}
        vars(run)["__signature__"] = signature.replace(
            parameters=[
                one.replace(annotation=known.get(name, one.annotation)) for name, one in signature.parameters.items()
            ]
        )
        return run

    def _known(self, policy: str) -> str:
        try:
            return self.policies.named(policy).name
        except UnknownPolicyError as error:
            raise ValueError(str(error)) from None
