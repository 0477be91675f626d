"""Reads an order, cleans up, and prints how that went as JSON."""

import json
import platform
import sys
import time

import django
import psycopg
from django.conf import settings
from django.db import connection

from benchmarks.retention.django_peer.order import Order


def main() -> None:
    """Run the clean-up of one table."""
    order = Order(**json.loads(sys.stdin.read()))
    settings.configure(
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": order.name,
                "USER": order.user,
                "PASSWORD": order.password,
                "HOST": order.host,
                "PORT": order.port,
            }
        },
        USE_TZ=True,
    )
    django.setup()
    # Imported here: models ask for the settings.
    from benchmarks.retention.django_peer.cleanups import cleanup_completed_todos, cleanup_old_sessions

    connection.ensure_connection()
    started = time.monotonic()
    if order.table == "todos":
        finished = cleanup_completed_todos(started + order.most_seconds)
    else:
        finished = cleanup_old_sessions(order.days_old)
    seconds = time.monotonic() - started
    versions = f"Django {django.__version__}, psycopg {psycopg.__version__}, Python {platform.python_version()}"
    print(json.dumps({"seconds": seconds, "finished": finished, "versions": versions}))


main()
