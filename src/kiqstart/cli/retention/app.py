"""The declarations of `kiqstart retention …`; what a command needs is imported when it runs."""

from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from kiqstart.cli.completion import policy_names
from kiqstart.cli.options import Json, Why

_DEFAULT: Final = "preview"


class _PreviewByDefault(TyperGroup):
    """Takes what is not a command's name for policies: `kiqstart retention expired_tokens`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401  # of typer's own copy of click
        if not args or args[0] not in {*self.commands, *ctx.help_option_names}:
            args = [_DEFAULT, *args]
        return super().parse_args(ctx, args)


retention = typer.Typer(help="Show what the clean-ups would delete now.", cls=_PreviewByDefault)


@retention.command(_DEFAULT)
def preview(
    policies: Annotated[
        list[str] | None,
        typer.Argument(metavar="POLICY", help="These only, by their names.", autocompletion=policy_names),
    ] = None,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the first batch's SQL and plan, and some of the rows.")
    ] = False,
    sample: Annotated[int, typer.Option(min=0, max=1000, help="Rows to show with --dry-run.")] = 5,
    as_json: Json = False,
) -> None:
    """Show what the clean-ups would delete now, and how they would scan their tables; the default command.

    Nothing is deleted, with or without --dry-run.
    """
    from kiqstart.cli.retention.preview import run_retention

    run_retention(policies or [], sample=sample if dry_run else None, as_json=as_json)


@retention.command("list")
def list_(*, as_json: Json = False) -> None:
    """List the policies: what they select, when they run, how much there is to do, and how the last run went.

    The exit code is 1 if one of them cannot be run.
    """
    from kiqstart.cli.retention.listing import run_list

    raise typer.Exit(run_list(as_json=as_json))


@retention.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def run(
    policy: Annotated[str, typer.Argument(metavar="POLICY", help="Its name.", autocompletion=policy_names)],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[--ARGUMENT VALUE]...", help="Of its task, as `run POLICY --help` has them."),
    ] = None,
    *,
    timeout: Annotated[
        float | None, typer.Option(min=0.1, help="Seconds to wait; by default, until it has ended.")
    ] = None,
    reason: Why = None,
    as_json: Json = False,
) -> None:
    """Have a worker run a policy now, and wait: `kiqstart retention run expired_sessions --dry-run --days-old 30`.

    Meanwhile it says on standard error how far it is. The command's own options stand before the name. The exit code is
    1 if it was not sent, failed, or did not end in time.
    """
    from kiqstart.cli.retention.running import run_policy

    raise typer.Exit(run_policy(policy, arguments or [], timeout=timeout, reason=reason, as_json=as_json))


@retention.command()
def history(
    policy: Annotated[
        str | None, typer.Argument(metavar="[POLICY]", help="Only that one's runs.", autocompletion=policy_names)
    ] = None,
    *,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 20,
    as_json: Json = False,
) -> None:
    """Show the clean-ups' runs of the last thirty days, and those in progress, newest first."""
    from kiqstart.cli.retention.history import run_history

    run_history(policy, limit=limit, as_json=as_json)


@retention.command()
def migrate() -> None:
    """Create the retention engine's own tables, or bring them up to date; no others are touched."""
    from kiqstart.cli.migrations import run_retention_migrate

    run_retention_migrate()
