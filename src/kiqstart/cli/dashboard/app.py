"""The declarations of `kiqstart dashboard …`; what a command needs is imported when it runs."""

from typing import Annotated

import typer

dashboard = typer.Typer(help="Serve the dashboard.", invoke_without_command=True)


@dashboard.callback()
def serve(
    context: typer.Context,
    *,
    host: Annotated[str, typer.Option(help="Listen at this address.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Listen at this port; 0 for any that is free.")] = 8645,
) -> None:
    """Serve the dashboard until SIGTERM or Ctrl-C.

    The settings KIQSTART_DASHBOARD_… say who may log in; without any, nothing is served.
    """
    if context.invoked_subcommand is None:
        from kiqstart.cli.dashboard.serving import run_dashboard

        run_dashboard(host=host, port=port)


@dashboard.command("hash-password")
def hash_password() -> None:
    """Read a password from the terminal, or a line of standard input, and print its hash.

    It is what KIQSTART_DASHBOARD_PASSWORD_HASH is set to.
    """
    from kiqstart.cli.dashboard.hashing import run_hash_password

    run_hash_password()
