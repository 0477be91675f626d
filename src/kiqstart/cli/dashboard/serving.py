"""`kiqstart dashboard`: serve it."""

from kiqstart.cli.application import application
from kiqstart.cli.terminal import echo
from kiqstart.errors import OperatorError
from kiqstart.processes.ending import EarlyEnd
from kiqstart.processes.listening import listen_at, url_of


class NotServedError(OperatorError):
    """The dashboard cannot be served."""


def run_dashboard(*, host: str, port: int) -> None:
    """Serve it until SIGTERM or Ctrl-C.

    Raises:
        OperatorError: a package or a setting is missing, or the address cannot be listened at.
    """
    EarlyEnd(0).take_signals()
    try:
        from kiqstart.cli.dashboard.server import DashboardServer
        from kiqstart.dashboard.application import make_dashboard
        from kiqstart.dashboard.streams import Streams
    except ModuleNotFoundError as error:
        raise NotServedError(f"{error.name} is not installed: pip install 'kiqstart[dashboard]'") from None
    app = application()
    streams = Streams()
    server = DashboardServer(make_dashboard(app, streams=streams), streams)
    if app.configure_logging is not None:
        app.configure_logging()
    with listen_at(host, port) as listener:
        echo(f"the dashboard is at {url_of(listener)}")
        server.run_on(listener)
