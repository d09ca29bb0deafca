"""Kill a real search with -9 at random moments, its driver and its workers in turn, resume it, and check the store.

    python benchmarks/kill_driver.py --kills 10 --seed 0

Prints one line a kill, and at the end whether every trial that was ever finished is still there, once.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNNER = """
kind = "ray"
workers = 2
memory_gib_per_trial = 0.5
[[ladder]]
trials = 16
samples = 640
pool = 640
evaluate = 200
[[ladder]]
trials = 4
samples = 1280
pool = 640
evaluate = 200
"""


def finished(trials: Path) -> list[str]:
    """Keys of the finished records, in order, a torn last line left out."""
    keys = []
    for line in trials.read_bytes().split(b"\n")[:-1] if trials.exists() else ():
        record = json.loads(line)
        if record["kind"] == "finished":
            keys.append(record["key"])
    return keys


def workers_of(driver: int) -> list[int]:
    """Processes of Ray below this driver that may be inside a trial."""
    import psutil

    try:
        children = psutil.Process(driver).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return [child.pid for child in children if "ResourceTrainable" in " ".join(child.cmdline())]


def kill_once(words: list[str], folder: Path, rng: random.Random, kill_worker: bool) -> str:
    """Run the search until a random moment of its training, then kill."""
    trials = folder / "mine" / "trials.jsonl"
    before = trials.stat().st_size if trials.exists() else 0
    log = (folder / "log.txt").open("a")
    process = subprocess.Popen(words, cwd=folder, stdout=log, stderr=log)
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if trials.exists() and trials.stat().st_size > before:  # it has begun to train
            break
        time.sleep(0.05)
    time.sleep(rng.uniform(0, 12))
    victims = workers_of(process.pid) if kill_worker else []
    if victims:
        os.kill(rng.choice(victims), signal.SIGKILL)
        time.sleep(rng.uniform(2, 8))
    process.send_signal(signal.SIGKILL)
    process.wait()
    after = len(finished(trials))
    return f"{'a worker, then the driver' if victims else 'the driver'} killed with {after} trials finished"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    folder = Path(tempfile.mkdtemp(prefix="kill-"))
    (folder / "tiny.toml").write_text(RUNNER)
    nasbench = [sys.executable, "-m", "nasbench"]
    words = [*nasbench, "search", "--space", "small", "--budget", "100MFLOP", "--runner", "tiny.toml", "--out", "mine"]
    seen: set[str] = set()
    for kill in range(options.kills):
        print(f"{kill + 1}: {kill_once(words, folder, rng, kill_worker=kill % 3 == 2)}", flush=True)
        seen |= set(finished(folder / "mine" / "trials.jsonl"))
        words = [*nasbench, "resume", "mine"]
    result = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    keys = finished(folder / "mine" / "trials.jsonl")
    missing, twice = seen - set(keys), len(keys) - len(set(keys))
    print(f"exit code {result.returncode}; {len(keys)} trials finished, {len(missing)} missing, {twice} finished twice")
    return int(bool(result.returncode or missing or twice))


if __name__ == "__main__":
    sys.exit(main())
