"""Trials and outcomes to be stored, and a writer to be killed: run as `python store_toys.py FOLDER`."""

from __future__ import annotations

import sys

from nasbench.arch.library import load
from nasbench.study.fidelity import load_recipe
from nasbench.study.store import TrialStore
from nasbench.study.trials import Outcome, State, Trial

ARCH = load("emo_1m").replace(name="näme → ☃")
FIDELITY = load_recipe().at(6000)


def trial(n: int = 0) -> Trial:
    return Trial.new(ARCH, FIDELITY, seed=n, data="toy")


def done(error: float = 0.25) -> Outcome:
    return Outcome(State.COMPLETE, {"error": error, "words": "ein paar"}, None, 1.5, {"host": "here"})


def write(folder: str) -> None:
    """Finish trials without end, and print the number of each once it is stored."""
    with TrialStore(folder) as store:
        for n in range(len(store.trials), 100_000):
            store.submit(trial(n))
            store.finish(trial(n).key, done())
            print(n, flush=True)


if __name__ == "__main__":
    write(sys.argv[1])
