"""Hypothesis for these tests: the same examples in every run."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "wcsgate", derandomize=True, deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("wcsgate")
