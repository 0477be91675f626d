"""How late schedules are sent, and what a scheduler costs that has nothing to do, beside plain taskiq."""
