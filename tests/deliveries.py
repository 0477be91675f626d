"""Deliveries that no stream has had."""

from typing import Any

from kiqstart.broker.delivery import Delivery


def delivery_with(**fields: Any) -> Delivery:  # noqa: ANN401  # the delivery's own
    """One of an empty message of the queue `default`, but for the fields that are given."""
    usual: dict[str, Any] = {
        "queue": "default",
        "stream": "stream",
        "entry": "1701250000000-0",
        "data": b"",
        "fields": {},
        "deliveries": 0,
        "worker": "worker",
        "epoch": "",
        "is_suspect": False,
    }
    return Delivery(**{**usual, **fields})
