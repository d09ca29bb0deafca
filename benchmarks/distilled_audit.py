"""Does a teacher in the targets make the deciding rung rank published networks better?

    python benchmarks/distilled_audit.py DIR --ways soft half flat --networks deit_ti fastvit_t8
    python benchmarks/distilled_audit.py DIR                    # answers alone, all networks of results/audit

One teacher, the proxy of a shipped network, is trained once for ten times as long as the rung (DIR/teacher.pt). Every
training with a seed sees the same augmented images in the same order whatever the network, so the teacher answers each
image once and its answers serve all networks: nothing is added to a training's cost. Ways: `soft` is the teacher's
answers alone, `flat` these at temperature 3, `half` the mean of their loss and that of the labels; `labels`, the rung
as it is, comes from results/audit. Rows go to DIR/rows.jsonl as they come, the same command goes on, and it ends with
rankings over the networks that all ways have, each by the mean of its seeds.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Collection, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax

from nasbench.arch.architecture import Architecture
from nasbench.arch.library import load
from nasbench.auditing.agreement import agreement, in_order, kendall
from nasbench.auditing.pairs import Ranked
from nasbench.auditing.rows import shipped_rows
from nasbench.auditing.start import FIRST_SEED, chosen_networks
from nasbench.costs.analytic import cost
from nasbench.hardware import tune_allocator
from nasbench.proxy.evaluate import TrialImages, dataset, pools, seeded_model
from nasbench.proxy.reduction import reduced
from nasbench.proxy.train import augmented_batches, score, train
from nasbench.published.accuracies import accuracies, family_of
from nasbench.study.fidelity import Fidelity
from nasbench.study.runner import RunnerSpec, runner_ladder
from nasbench.study.task import DATA, DataSplit, Task

WAYS = {"soft": (1.0, 1.0), "half": (0.5, 1.0), "flat": (1.0, 3.0)}  # share of the answers' loss, temperature
LABELS = "labels"
TEACHER, TEACHER_SEED = "fastvit_t8", 1


def rung() -> Fidelity:
    return runner_ladder("laptop").rungs[-1].fidelity


class Teaching:
    """A loss: `share` of it is the divergence from the answers (logits, step by step), the rest is of the labels."""

    def __init__(self, answers: Sequence[Tensor], share: float, temperature: float, smoothing: float) -> None:
        self.answers, self.share, self.temperature, self.smoothing = iter(answers), share, temperature, smoothing

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        logits, told = model(images).float(), next(self.answers)
        own = cross_entropy(logits, labels, label_smoothing=self.smoothing)
        soft, target = log_softmax(logits / self.temperature, 1), log_softmax(told / self.temperature, 1)
        taught = kl_div(soft, target, reduction="batchmean", log_target=True) * self.temperature**2
        return self.share * taught + (1 - self.share) * own


def prepared(arch: Architecture, fidelity: Fidelity, seed: int) -> tuple[nn.Module, TrialImages]:
    torch.set_num_threads(1)
    tune_allocator()
    small = reduced(arch, fidelity)
    images = pools(Task(arch, fidelity, seed, DataSplit(DATA, split="test"), RunnerSpec()), small.resolution)
    return seeded_model(small, len(dataset(DATA).classes), seed), images


def trained_teacher(path: Path) -> None:
    fidelity = rung().longer
    model, images = prepared(load(TEACHER), fidelity, TEACHER_SEED)
    train(model, images.training, fidelity, images.norm, TEACHER_SEED, RunnerSpec())
    found = score(model, images.held_out, images.norm)
    print(f"teacher: {TEACHER}, {fidelity.samples:,} samples, accuracy {found.accuracy:.3f}", flush=True)
    torch.save(model.state_dict(), path)


@lru_cache
@torch.no_grad()
def answers(path: Path, seed: int) -> tuple[Tensor, ...]:
    """The teacher's logits of every batch of a training with `seed`; all networks are trained at one image size."""
    fidelity = rung()
    model, images = prepared(load(TEACHER), fidelity, seed)
    model.load_state_dict(torch.load(path))
    model.eval()
    return tuple(model(pixels) for pixels, _ in augmented_batches(images.training, fidelity, images.norm, seed))


def taught(name: str, way: str, seed: int, teacher: Path) -> dict[str, Any]:
    fidelity = rung()
    model, images = prepared(load(name), fidelity, seed)
    share, temperature = WAYS[way]
    loss = Teaching(answers(teacher, seed), share, temperature, fidelity.label_smoothing)
    run = train(model, images.training, fidelity, images.norm, seed, RunnerSpec(), loss)
    found = score(model, images.held_out, images.norm)
    return {
        "network": name, "way": way, "seed": seed, "accuracy": found.accuracy, "loss": round(found.loss, 5),
        "train_loss_tail": round(run.train_loss_tail, 5), "cpu_seconds": round(run.cpu_seconds, 1),
    }  # fmt: skip


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def by_labels(seeds: Collection[int]) -> dict[str, list[float]]:
    """Network -> its accuracies at the rung as it is, in %, by the same seeds."""
    found: dict[str, list[float]] = {}
    for row in shipped_rows().values():
        if row.fidelity == rung().id and row.seed in seeds and row.accuracy is not None:
            found.setdefault(row.network, []).append(100 * row.accuracy)
    return found


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Of each way its ranking of the networks that every way has, and each network's mean accuracy in %."""
    found = {LABELS: by_labels({row["seed"] for row in rows})}
    for row in rows:
        found.setdefault(row["way"], {}).setdefault(row["network"], []).append(100 * row["accuracy"])
    names = sorted(set.intersection(*(set(each) for each in found.values())), key=lambda n: cost(load(n)).macs)
    truth = np.array([accuracies()[name].value for name in names])
    macs = np.array([cost(load(name)).macs for name in names], float)
    groups = Ranked([family_of(name) for name in names], macs, truth).groups()
    means = {way: np.array([np.mean(each[name]) for name in names]) for way, each in found.items()}
    lines = [f"{name:18} {top1:5.1f}  " + "  ".join(f"{way} {means[way][i]:5.1f}" for way in means)
             for i, (name, top1) in enumerate(zip(names, truth, strict=True))]  # fmt: skip
    for way, values in (means | {"multiply-adds": macs}).items():
        told, right = agreement(values, truth), in_order(values, truth, groups["decidable_similar"])
        ends = f" [{told.low:.2f}, {told.high:.2f}]" if told else ""
        within = kendall(values, truth, groups["within"])
        lines.append(
            f"{way:14} tau {kendall(values, truth):.2f}{ends} of {len(names)}, within families {within:.2f}; "
            f"{right.right} of {right.pairs} pairs across families, alike in cost, 1.5 points apart"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=["soft"])
    parser.add_argument("--networks", nargs="+", metavar="NAME")
    parser.add_argument("--seeds", nargs="+", type=int, default=[FIRST_SEED])
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    path, teacher = options.folder / "rows.jsonl", options.folder / "teacher.pt"
    if not teacher.exists():
        trained_teacher(teacher)
    names = sorted(chosen_networks(options.networks), key=lambda name: cost(load(name)).macs)
    held = {(row["network"], row["way"], row["seed"]) for row in read(path)}
    wanted = [(n, w, s) for s, n, w in itertools.product(options.seeds, names, options.ways) if (n, w, s) not in held]
    with ProcessPoolExecutor(options.workers, get_context("spawn")) as workers, path.open("a", encoding="utf-8") as out:
        for done in as_completed([workers.submit(taught, *each, teacher) for each in wanted]):
            out.write(json.dumps(done.result()) + "\n")
            out.flush()
            print(done.result(), flush=True)
    print(table(read(path)))


if __name__ == "__main__":
    main()
