"""How many tasks a second, how long a round trip takes, and what a worker costs, beside other task queues."""
