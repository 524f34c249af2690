"""Benchmarks. They print ratios and are no tests."""
