"""What Alembic runs; `kiqstart migrate` and `kiqstart migration` bring a connection."""

from alembic import context

from shop.models import Base

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=Base.metadata)
with context.begin_transaction():
    context.run_migrations()
