"""A FastAPI app that deletes what is old: the retention engine without a task queue, Redis or a container."""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from fastapi import FastAPI
from sqlalchemy import DateTime, make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from kiqstart.retention import RetentionEngine, RetentionPolicy

engine = create_async_engine(make_url(os.environ["DATABASE_URL"]).set(drivername="postgresql+asyncpg"))
retention = RetentionEngine(engine)


class Base(DeclarativeBase):
    """The base of the app's mapped classes."""


class Event(Base):
    """Something that has happened."""

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(primary_key=True)
    happened_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), index=True)


def old_events() -> RetentionPolicy:
    """Events that are older than 90 days."""
    limit = datetime.now(UTC) - timedelta(days=90)
    return RetentionPolicy(
        name="old_events", model=Event, predicate=Event.happened_at < limit, cursor=(Event.happened_at,)
    )


async def clean_up_daily() -> None:
    """Delete old events once a day. Of several processes of the app, each does; no row is counted twice."""
    while True:
        await asyncio.sleep(24 * 3600)
        await retention.run(old_events())


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
    """Bring the engine's own tables up to date, and clean up while the app is up."""
    await retention.migrate()
    cleaner = asyncio.create_task(clean_up_daily())
    yield
    # A batch that is under way is finished; the next run goes on where this one stopped.
    cleaner.cancel()
    await asyncio.wait({cleaner})
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


@app.post("/cleanups")
async def clean_up() -> dict[str, object]:
    """Delete old events now."""
    report = await retention.run(old_events())
    return {"deleted": report.deleted, "stopped": report.stopped, "seconds": report.seconds}


@app.get("/cleanups")
async def would_delete() -> dict[str, object]:
    """Say what would be deleted."""
    preview = await retention.preview(old_events())
    return {"rows": preview.rows, "reason": preview.reason}
