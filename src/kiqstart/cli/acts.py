"""`kiqstart acts`: who did what, when and why."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from kiqstart.broker.acts import Acts, RecordedAct
from kiqstart.broker.broker import StreamBroker
from kiqstart.cli.application import on_broker
from kiqstart.cli.local_times import shown_moment, zoned
from kiqstart.cli.tables import new_table, print_table
from kiqstart.cli.terminal import echo, echo_json, shown


def run_acts(*, limit: int, as_json: bool) -> None:
    """Print the newest acts, newest first."""
    acts = _read(limit)
    if as_json:
        echo_json([act_as_json(one) for one in acts])
    elif acts:
        print_table(acts_table(acts))
    else:
        echo("nobody has done anything that is kept")


def acts_table(acts: Sequence[RecordedAct]) -> Table:
    """A row for each act; below its target what became of it, and why it was done."""
    table = new_table(zoned("when"), "who", "did", "to")
    table.columns[0].no_wrap = True
    for one in acts:
        target = [one.target, *([one.detail] if one.detail else []), *([f"why: {one.reason}"] if one.reason else [])]
        cells = (
            shown_moment(one.at),
            f"{shown(one.by.user)}@{shown(one.by.host)}",
            shown(one.kind),
            "\n".join(map(shown, target)),
        )
        table.add_row(*map(Text, cells))
    return table


def act_as_json(one: RecordedAct) -> dict[str, str]:
    """An act as `--json` has it."""
    return {
        "at": one.at.isoformat(),
        "act": one.kind,
        "target": one.target,
        "detail": one.detail,
        "user": one.by.user,
        "host": one.by.host,
        "reason": one.reason,
    }


@on_broker
async def _read(broker: StreamBroker, limit: int) -> list[RecordedAct]:
    return await Acts(broker.connection.redis, broker.keys).newest(limit)
