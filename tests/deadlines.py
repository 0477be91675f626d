"""How long a test waits for what has to come: so long that only a hang makes it red."""

from typing import Final

# Seconds. A machine that others load is many times slower, and what comes at all is taken when it comes.
HANG: Final = 200.0
# Seconds: what a busy machine may add to what takes no time, in a bound that shows a wait of another kind.
SOON: Final = 20.0
