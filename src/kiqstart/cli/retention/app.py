"""The declarations of `kiqstart retention …`; what a command needs is imported when it runs."""

from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

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
    policies: Annotated[list[str] | None, typer.Argument(metavar="POLICY", help="These only, by their names.")] = None,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the first batch's SQL and plan, and some of the rows.")
    ] = False,
    sample: Annotated[int, typer.Option(min=0, max=1000, help="Rows to show with --dry-run.")] = 5,
) -> None:
    """Show what the clean-ups would delete now; what `kiqstart retention` does without a command's name.

    And which way they would go through their tables. Nothing is deleted, with or without --dry-run.
    """
    from kiqstart.cli.retention.preview import run_retention

    run_retention(policies or [], sample=sample if dry_run else None)


@retention.command()
def migrate() -> None:
    """Make the retention engine's own tables, or bring them up to date; no others are touched."""
    from kiqstart.cli.migrations import run_retention_migrate

    run_retention_migrate()
