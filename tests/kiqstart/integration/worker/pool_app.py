"""A broker whose tasks run in the processes of a pool: `kiqstart worker --use-process-pool tests.….pool_app:broker`."""

import os

from tests.kiqstart.unit.broker import pooled

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.options import StreamOptions

broker = StreamBroker(
    os.environ["REDIS_URL"],
    queue_name=os.environ["QUEUE_NAME"],
    options=StreamOptions(lease=1.0, max_deliveries=2, misfit_grace=0.2),
    result_ttl=600.0,
)
add = broker.register_task(pooled.add, task_name="add")
die = broker.register_task(pooled.die, task_name="die")
wait_for = broker.register_task(pooled.wait_for, task_name="wait_for")
