"""What all tests share: property tests draw the same examples in every run, and few, so that a run stays short."""

import gc
from pathlib import Path

import pytest
from hypothesis import settings

from nasbench.cli import GC_THRESHOLD

settings.register_profile("repeatable", derandomize=True, deadline=None, database=None, max_examples=15)
settings.load_profile("repeatable")
gc.set_threshold(GC_THRESHOLD)  # as in every command


def pytest_collection_finish() -> None:
    """What libraries and tests hold from here on stays: each collection of garbage would walk over all of it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A saved model of a network whose branches merge, trained for four epochs, and the data that it was trained on."""
    from training_toys import train_model  # torch

    return train_model(tmp_path_factory.mktemp("trained"))
