"""From a history that breaks a promise to the shortest one that still does."""

from collections.abc import Callable
from dataclasses import replace

from tests.simulation.history import play
from tests.simulation.plan import FireTime, Plan
from tests.simulation.server import Server


def shrink(plan: Plan, breaks: Callable[[Plan], bool]) -> Plan:
    """Leave out steps, then arguments, as long as a promise is still broken."""
    size = max(len(plan.steps) // 2, 1)
    while size:
        at = 0
        while at < len(plan.steps):
            fewer = replace(plan, steps=plan.steps[:at] + plan.steps[at + size :])
            if breaks(fewer):
                plan = fewer
            else:
                at += size
        size //= 2
    for slot in list(plan.workers):
        fewer = replace(plan, workers={name: one for name, one in plan.workers.items() if name != slot})
        if fewer.workers and breaks(fewer):
            plan = fewer
    return _simpler_steps(plan, breaks)


def _simpler_steps(plan: Plan, breaks: Callable[[Plan], bool]) -> Plan:
    for place in range(len(plan.steps)):
        for name in sorted(_OPTIONAL & plan.steps[place].args.keys()):
            step = plan.steps[place]
            if step.do != "send":
                continue
            simpler = FireTime(at=step.at, do=step.do, args={key: step.args[key] for key in step.args if key != name})
            fewer = replace(plan, steps=[*plan.steps[:place], simpler, *plan.steps[place + 1 :]])
            if breaks(fewer):
                plan = fewer
    return plan


_OPTIONAL = frozenset(
    {"delay", "unique", "queue", "wait", "retries", "ends", "stubborn", "task_id", "give_up", "acks"} | {"clean_up"}
)


def same_promise(broken: str, server: Server, plan: Plan) -> bool:
    """Whether a plan breaks the promise that another one has broken, whatever message it is about."""
    return _without_names(play(plan, server).broken) == _without_names(broken)


def _without_names(broken: str) -> list[str]:
    return [word for word in broken.split() if word.isalpha()]
