"""What all tests share: property tests draw the same examples in every run, and few, so that a run stays short."""

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None, database=None, max_examples=15)
settings.load_profile("repeatable")
