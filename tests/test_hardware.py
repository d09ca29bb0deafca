"""What this machine has: memory that is kept, given back, watched and told."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from dataclasses import replace

import pytest

from nasbench import hardware
from nasbench.arch.library import load
from nasbench.report.tables import memory_text
from nasbench.study.fidelity import load_recipe
from nasbench.study.trials import Trial

FORKING = """
import os, threading, time
import numpy as np
from nasbench.hardware import one_blas_thread

def work():
    a, b = (np.random.default_rng(0).normal(size=(count, 130)) for count in (400, 900))
    while True:
        a @ b.T
        products.append(None)

products = []
with one_blas_thread():
    threading.Thread(target=work, daemon=True).start()
    for _ in range(40):
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        before = len(products)
        while len(products) == before:
            time.sleep(0.001)
print("no product waits", flush=True)
os._exit(0)
"""
PROGRAM = """
import json, psutil
from nasbench import hardware

MIB = 2**20
told = {"tuned": hardware.tune_allocator()}

def held():
    return psutil.Process().memory_info().rss / MIB

def use(mib):
    blocks = [bytes([1]) * MIB for _ in range(mib)]  # each below the size that is mapped on its own

told["before"] = held()
use(300)
hardware.give_memory_back(above=2**40)
told["kept"] = held()
hardware.give_memory_back()
told["given back"] = held()
told["peak"] = hardware.peak_memory_bytes() / MIB
hardware.watch_peak_memory()
use(100)
told["next peak"] = hardware.peak_memory_bytes() / MIB
print(json.dumps(told))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="freed memory is kept by glibc alone")
def test_memory_is_kept_while_a_trial_runs_and_given_back_after_it() -> None:
    answer = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    told = json.loads(answer.stdout)
    assert told["tuned"]
    assert told["kept"] > told["before"] + 280
    assert told["given back"] < told["before"] + 40
    assert told["peak"] > told["before"] + 280
    assert told["before"] + 80 < told["next peak"] < told["before"] + 200  # of what came after it was watched anew


def test_a_peak_is_known_or_said_to_be_unknown() -> None:
    peak = hardware.peak_memory_bytes()
    assert peak is None or peak > 10 * 2**20


def test_the_memory_of_trials_is_shown_beside_what_the_runner_counts() -> None:
    trials = [
        replace(Trial.new(load("emo_1m"), load_recipe().at(64), seed, "toy"), worker=worker)
        for seed, worker in enumerate(({"peak_memory_gib": 0.9}, {"peak_memory_gib": 1.72}, {}))
    ]
    (line,) = memory_text(trials[:1], 1.5)
    assert line == "Memory: a trial held at most 0.9 GiB (emo_1m); the runner counts 1.5 for each."
    (line,) = memory_text(trials, 1.5)
    assert "1.7 GiB" in line
    assert line.endswith("the runner counts 1.5 for each, too little: raise memory_gib_per_trial in its file.")
    assert memory_text(trials[2:], 1.5) == []  # older studies do not tell


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_product_in_a_thread_outlives_the_forks_of_others() -> None:
    """With threads of OpenBLAS's own it hangs at one of the first."""
    done = subprocess.run([sys.executable, "-c", FORKING], capture_output=True, text=True, timeout=120)
    assert done.stdout == "no product waits\n", done.stderr
