"""The pictures of the benchmark. They are drawn in an environment of its own."""
