"""The picture of the benchmark. It is drawn in an environment of its own."""
