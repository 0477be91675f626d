"""What the peer is told on its standard input, as JSON."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Order:
    """The database, the table to clean up, and how long that may take at most, in seconds."""

    name: str
    user: str
    password: str
    host: str
    port: str
    table: str
    days_old: int
    most_seconds: float
