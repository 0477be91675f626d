"""How long a task takes from `kiq()` to its result, and what it leaves behind, beside plain taskiq."""
