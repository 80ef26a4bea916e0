"""Benchmarks: ``./run bench NAME``. Each row stands beside its floor and, where Docker can do it, its peer."""
