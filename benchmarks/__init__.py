"""Benchmarks: how fast is vex, and how much memory does it take, beside tools that do the same work."""
