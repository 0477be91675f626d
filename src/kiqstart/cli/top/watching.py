"""`kiqstart top`: what goes on just now, redrawn until q or Ctrl-C; one frame where nobody looks."""

import asyncio
import shutil
import sys
from contextlib import suppress

from redis.exceptions import RedisError

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.redis_retry import reason
from kiqstart.cli.application import stream_broker
from kiqstart.cli.terminal import echo, echo_json, shown
from kiqstart.cli.top.frame import Frame
from kiqstart.cli.top.screen import Screen
from kiqstart.operations.pulse import read_pulse
from kiqstart.operations.rates import Rates, read_recent_rates

# What workers have counted comes with their beats.
_LEAST_WINDOW = 5.0
_WIDTH_OF_A_FILE = 200


def run_top(*, interval: float, as_json: bool) -> None:
    """Show what goes on just now, every `interval` seconds."""
    with suppress(KeyboardInterrupt):
        asyncio.run(_top(interval, as_json=as_json))


async def _top(interval: float, *, as_json: bool) -> None:
    async with stream_broker() as broker:
        if as_json:
            echo_json((await _frame(broker, Rates())).as_json())
        elif not sys.stdout.isatty():
            width = shutil.get_terminal_size((_WIDTH_OF_A_FILE, 0)).columns
            echo("\n".join((await _frame(broker, Rates())).lines(width)))
        else:
            await _redraw(broker, Screen(), interval)


async def _redraw(broker: StreamBroker, screen: Screen, interval: float) -> None:
    rates, lines = Rates(), list[str]()
    with screen.opened():
        while not screen.quit.is_set():
            try:
                lines = (await _frame(broker, rates)).lines(screen.width)
                screen.draw(lines)
            except (RedisError, OSError) as error:
                # Nobody presses the keys again when it is back.
                screen.draw(
                    [shown(f"Redis is out of reach, asking again: {reason(error)}")[: screen.width], "", *lines]
                )
            with suppress(TimeoutError):
                await asyncio.wait_for(screen.quit.wait(), interval)


async def _frame(broker: StreamBroker, rates: Rates) -> Frame:
    pulse = await read_pulse(broker)
    rates.note(pulse)
    queues = [rates.of_queue(one) for one in pulse.queues]
    if rates.seconds >= _LEAST_WINDOW:
        return Frame(pulse=pulse, seconds=rates.seconds, rates=queues, tasks=rates.of_tasks())
    # Where there is nothing to compare yet, the tasks' figures are those of the last one to two hours.
    seconds, tasks = await read_recent_rates(broker.connection.redis, broker.keys)
    return Frame(pulse=pulse, seconds=seconds, rates=queues, tasks=tasks)
