"""PostgreSQL and Redis for a machine that has none running.

`local_stack` hands out their URLs. Each server runs below a small supervisor process in a session of its own, shared by
every process that uses the same home folder, and ends with the last of them, however that one ends. A home that another
user can change is refused.
"""

from kiqstart.local.errors import LocalStackError
from kiqstart.local.stack import StackUrls, local_stack

__all__ = ["LocalStackError", "StackUrls", "local_stack"]
