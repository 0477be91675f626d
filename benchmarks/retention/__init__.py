"""Measures the retention engine on a real PostgreSQL through a real worker: `python -m benchmarks.retention`."""
