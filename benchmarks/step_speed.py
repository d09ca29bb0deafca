"""CPU time of a training step of the proxy, by our operators and by torch's own, interleaved in one process.

    python benchmarks/step_speed.py --repeats 15 --out results/speed/step.json

Networks are reduced and trained as at the laptop's first rung, on random images, one thread. A figure is CPU ms a
sample, median over repetitions of a few steps each; the ratio is that of pairs, with quartiles: below 1 ours is faster.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch

from nasbench.arch.library import load
from nasbench.hardware import tune_allocator
from nasbench.proxy import cheaper
from nasbench.proxy import train as training
from nasbench.proxy.data.augment import Normalisation
from nasbench.proxy.data.pool import MemoryPool
from nasbench.proxy.evaluate import seeded_model
from nasbench.proxy.reduction import reduced
from nasbench.study.runner import LAPTOP, load_runner, runner_ladder

NETWORKS = ("fastvit_t8", "emo_5m", "mobileone_s1", "mobilevit_s", "mobilenetv2_100", "pvt_tiny", "swin_t", "repvgg_a0")
CLASSES, IMAGES = 10, 960


class Steps:
    """Trains a network a few steps at a time, ours or by torch's own modules."""

    def __init__(self, name: str, steps: int) -> None:
        fidelity = runner_ladder(LAPTOP).rungs[0].fidelity
        self.arch = reduced(load(name), fidelity)
        self.fidelity = fidelity.replace(samples=steps * fidelity.batch_size)
        rng, size = torch.Generator().manual_seed(0), self.arch.resolution
        pixels = torch.randint(0, 256, (IMAGES, size, size, 3), dtype=torch.uint8, generator=rng)
        self.pool = MemoryPool(pixels, torch.randint(0, CLASSES, (IMAGES,), generator=rng))
        self.norm = Normalisation((125.0,) * 3, (64.0,) * 3)
        self.runner = load_runner(LAPTOP)

    def ms_per_sample(self, ours: bool) -> float:
        model = seeded_model(self.arch, CLASSES, 0)  # anew: a training scales the initial weights
        with nullcontext() if ours else torch_alone():
            run = training.train(model, self.pool, self.fidelity, self.norm, 0, self.runner)
        return 1e3 * run.cpu_seconds / run.samples


@contextmanager
def torch_alone() -> Iterator[None]:
    """Within it trainings keep torch's own modules."""
    kept, cheaper.REPLACEMENTS = cheaper.REPLACEMENTS, ()
    try:
        yield
    finally:
        cheaper.REPLACEMENTS = kept


def compare(name: str, steps: int, repeats: int) -> dict[str, Any]:
    network = Steps(name, steps)
    for ours in (True, False):
        network.ms_per_sample(ours)
    pairs = []
    for repeat in range(repeats):  # in turns, so that neither always follows the other
        first = network.ms_per_sample(ours=bool(repeat % 2))
        second = network.ms_per_sample(ours=not repeat % 2)
        pairs.append((first, second) if repeat % 2 else (second, first))
    low, middle, high = statistics.quantiles([ours / torchs for ours, torchs in pairs], n=4)
    ours, torchs = (statistics.median(values) for values in zip(*pairs))
    return {"name": name, "ours_ms": ours, "torch_ms": torchs, "ratio": middle, "low": low, "high": high}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--steps", type=int, default=4, help="steps a repetition")
    parser.add_argument("--out", type=Path, help="where to write the figures as JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    tune_allocator()
    records = []
    for name in options.networks:
        record = compare(name, options.steps, options.repeats)
        records.append(record)
        print(
            f"{name:<16} {record['ours_ms']:6.2f} ms a sample, torch {record['torch_ms']:6.2f}: "
            f"{record['ratio']:.2f} ({record['low']:.2f} to {record['high']:.2f})",
            flush=True,
        )
    if options.out:
        about = {
            "machine": platform.processor() or platform.machine(),
            "torch": torch.__version__,
            "capability": torch.backends.cpu.get_cpu_capability(),
            "steps": options.steps,
            "repeats": options.repeats,
            "what": "CPU ms a sample of the proxy's training step; ratio of ours to torch's own, interleaved",
        }
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps({**about, "networks": records}, indent=1) + "\n")


if __name__ == "__main__":
    main()
