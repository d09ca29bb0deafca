"""What all tests share: property tests draw the same examples in every run, and few, so that a run stays short.

Tests marked `exhaustive` are the many that are alike (one a family, one a runtime) and those that watch chance for
long. They come last, and where NASBENCH_TESTS_UNTIL names a time (seconds since 1970), as continuous integration does,
what has not started by then is skipped and says so: on a slow machine the rest of the tests end in time.
"""

import gc
import os
import time
from pathlib import Path

import pytest
from hypothesis import settings

from nasbench.cli import GC_THRESHOLD

settings.register_profile("repeatable", derandomize=True, deadline=None, database=None, max_examples=15)
settings.load_profile("repeatable")
gc.set_threshold(GC_THRESHOLD)  # as in every command


# Their tests share what takes long to make: each begins one process's tests, so that no other process makes it as well.
# The documentation's pages share a folder, and as a chain of some minutes must not be begun last.
SHARE_MUCH = ("test_search.py", "test_running.py", "test_documents.py", "test_scaling_study.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In the run of neighbours that each process begins with: files that share much first, exhaustive tests last."""
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    parts: list[list[pytest.Item]] = [[] for _ in range(processes)]
    exhaustive = [each for each in items if each.get_closest_marker("exhaustive")]
    others = [each for each in items if not each.get_closest_marker("exhaustive")]
    for place, name in enumerate(SHARE_MUCH):
        parts[place % processes] += [each for each in others if each.path.name == name]
    for kind in ([each for each in others if each.path.name not in SHARE_MUCH], exhaustive):
        for place, part in enumerate(parts):
            part += kind[len(kind) * place // processes : len(kind) * (place + 1) // processes]
    items[:] = [each for part in parts for each in part]


def pytest_runtest_setup(item: pytest.Item) -> None:
    until = os.environ.get("NASBENCH_TESTS_UNTIL")
    if until and time.time() > float(until) and item.get_closest_marker("exhaustive"):
        pytest.skip("exhaustive, and the time for these is over")


def pytest_collection_finish() -> None:
    """What libraries and tests hold from here on stays: each collection of garbage would walk over all of it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A saved model of a network whose branches merge, trained for four epochs, and the data that it was trained on."""
    from training_toys import train_model  # torch

    return train_model(tmp_path_factory.mktemp("trained"))
