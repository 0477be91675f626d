"""`kiqstart retention`: what would the clean-ups do?"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from kiqstart.cli.application import unconnected_application
from kiqstart.cli.terminal import echo, echo_json, shown
from kiqstart.errors import OperatorError
from kiqstart.retention.dry_run import DryRun
from kiqstart.retention.errors import UnknownPolicyError
from kiqstart.retention.policies import RetentionPolicies
from kiqstart.retention.policy import RetentionPolicy
from kiqstart.retention.preview import RetentionPreview


@dataclass(frozen=True, kw_only=True)
class _Found:
    policy: RetentionPolicy
    preview: RetentionPreview
    dry_run: DryRun | None


def run_retention(names: Sequence[str], *, sample: int | None, as_json: bool = False) -> None:
    """Print for each policy, or those named, what it would do now, which way, and why; nothing is deleted.

    Args:
        names: those to look at; none for all.
        sample: how many rows to show, with the first batch's statement and plan; None for neither.
        as_json: whether as JSON.
    """
    policies = asyncio.run(_look(names, sample))
    if as_json:
        echo_json([_as_json(found) for found in policies])
        return
    for found in policies:
        for line in _lines(found):
            echo(line)


async def _look(names: Sequence[str], sample: int | None) -> list[_Found]:
    app = unconnected_application()
    policies = app.needs_retention()
    try:
        chosen = _chosen(policies, names)
        if app.database is not None:
            await app.database.check()
        return [
            _Found(
                policy=one,
                preview=await policies.preview(one),
                dry_run=None if sample is None else await policies.dry_run(one, sample=sample),
            )
            for one in chosen
        ]
    finally:
        await app.close()


def _chosen(policies: RetentionPolicies, names: Sequence[str]) -> Sequence[RetentionPolicy]:
    try:
        return [policies.named(name) for name in names] or policies.all()
    except UnknownPolicyError as error:
        raise OperatorError(str(error)) from None


def _as_json(found: _Found) -> dict[str, object]:
    preview, policy = found.preview, found.policy
    return {
        "policy": preview.policy,
        "action": str(policy.action),
        "rows": preview.rows,
        "is_estimate": preview.is_estimate,
        "table_rows": preview.table_rows,
        "along": preview.scan.described,
        "reason": preview.reason,
        "window": None if policy.window is None else str(policy.window),
        "dry_run": None if found.dry_run is None else asdict(found.dry_run),
    }


def _lines(found: _Found) -> Iterator[str]:
    preview, policy = found.preview, found.policy
    number = f"about {preview.rows:,} (an estimate)" if preview.is_estimate else f"{preview.rows:,}"
    yield f"{preview.policy}: would {policy.action} {number} of about {preview.table_rows:,} rows"
    yield f"  along the {preview.scan.described}: {shown(preview.reason)}"
    if policy.window is not None:
        yield f"  from {policy.window}"
    if (dry_run := found.dry_run) is None:
        return
    for partition in dry_run.partitions:
        yield f"  would first {policy.partitions} {shown(partition)}"
    if dry_run.statement is not None:
        yield "  its first batch:"
        yield from (f"    {shown(line)}" for line in dry_run.statement.splitlines())
        yield "  by the plan:"
        yield from (f"    {shown(line)}" for line in dry_run.plan)
    yield from _sample(dry_run)


def _sample(dry_run: DryRun) -> Iterator[str]:
    if dry_run.sample is None:
        yield "  none of its rows was found in two seconds"
    elif dry_run.sample:
        yield "  some of the rows:"
        for row in dry_run.sample:
            values = (f"{name}={'NULL' if value is None else value}" for name, value in row.items())
            yield f"    {shown(' '.join(values))}"
