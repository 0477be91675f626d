"""The Django peer, seen from here."""

from dataclasses import asdict
from json import dumps

from pydantic import BaseModel
from sqlalchemy import make_url

from benchmarks.retention.dataset import DAYS_OLD
from benchmarks.retention.django_peer.order import Order
from benchmarks.retention.results import Table
from benchmarks.separate import run_separate


class DjangoRun(BaseModel):
    """What the peer tells: the seconds of the deletion, whether it came to its end, and its versions."""

    seconds: float
    finished: bool
    versions: str


async def delete_with_django(database_url: str, table: Table, *, most_seconds: float) -> DjangoRun:
    """Delete as the tutorial for that table does.

    Raises:
        SeparateProgramError: the peer is not installed, or failed.
    """
    url = make_url(database_url)
    host = url.host or url.query.get("host", "")
    order = Order(
        name=url.database or "",
        user=url.username or "",
        password=url.password or "",
        host=host if isinstance(host, str) else host[0],
        port=str(url.port or ""),
        table=table,
        days_old=DAYS_OLD,
        most_seconds=most_seconds,
    )
    return DjangoRun.model_validate_json(
        await run_separate("benchmarks.retention.django_peer", given=dumps(asdict(order)))
    )
