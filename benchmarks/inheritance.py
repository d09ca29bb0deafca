"""Whether a child that starts from its trained parent's weights tells in a tenth of the steps what training tells.

    python benchmarks/inheritance.py draw --out results/inheritance
    nasbench table collect --architectures results/inheritance/designs/*.toml --seeds 3
    nice python benchmarks/inheritance.py train --out results/inheritance
    python benchmarks/inheritance.py show --out results/inheritance

`draw` takes 10 designs of the shipped table, five of its best quarter and five of the rest, each spread over quality
and cost, and 6 children of each, one field changed by the space's own `mutate`. `train` trains each parent at the
first rung, then for a few steps more, and each child for as many from the parent's weights (`inheriting.py`). `show`
holds child minus continued parent against the difference of both from scratch, in the mean over seeds. It goes on
after a kill; every score is written as it comes.
"""

from __future__ import annotations

import argparse
import copy
import csv
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from inheriting import inherit
from scipy.stats import kendalltau

from nasbench.arch.architecture import Architecture
from nasbench.arch.library import load
from nasbench.costs.analytic import cost
from nasbench.costs.budget import Budget
from nasbench.files import write_toml
from nasbench.nn.model import Model
from nasbench.proxy.evaluate import TrialImages, dataset, pools, seeded_model
from nasbench.proxy.reduction import reduced
from nasbench.proxy.train import score, set_initial_values, train
from nasbench.space.shipped import load_space
from nasbench.study.fidelity import Fidelity
from nasbench.study.runner import RunnerSpec
from nasbench.study.task import DataSplit, Task
from nasbench.table.designs import Octaves, spread
from nasbench.table.loading import load_table
from nasbench.table.plan import FIRST_SEED
from nasbench.table.table import Table

PARENTS, CHILDREN, BEST = 10, 6, 0.25
ATTEMPTS = 500  # mutations of one parent
SHORT = ((0.1, 0.02), (0.1, 0.005), (1 / 3, 0.02))  # share of the first rung's steps, peak rate
MORE = 1000  # what a seed of a continued training is above that of the first
RUNNER = RunnerSpec(kind="serial")
COLUMNS = (
    "parent", "child", "seed", "share", "lr", "start_accuracy", "accuracy", "loss", "inherited", "cpu_seconds",
)  # fmt: skip
RESAMPLES = 4000


# Which designs.


def drawn(table: Table, seed: int) -> Iterator[tuple[Architecture, list[Architecture]]]:
    """Parents, good and poor ones in turn, and the children of each."""
    space, octaves, rng = load_space("metablock"), Octaves(Budget.parse("2GFLOP"), 1000), np.random.default_rng(seed)
    fidelity, taken = table.fidelity(0), set(table.ids)
    accuracies = {
        key: float(np.mean([row.accuracy for row in table.where(architecture_id=key, rung=0).content]))
        for key, arch in table.architectures.items()
        if space.contains(arch)
    }
    places = {key: octaves.of(table.architectures[key]) or 0 for key in accuracies}
    ranked = sorted(accuracies, key=lambda key: -accuracies[key])
    cut = round(BEST * len(ranked))
    halves = [
        spread({key: accuracies[key] for key in half}, places, PARENTS // 2) for half in (ranked[:cut], ranked[cut:])
    ]
    for key in (key for pair in zip(*halves) for key in pair):
        parent = table.architectures[key]
        nets, children = {reduced(parent, fidelity).id}, []
        for _ in range(ATTEMPTS):
            child = space.mutate(parent, rng)
            small = reduced(child, fidelity).id
            if child.id not in taken and small not in nets and octaves.of(child) is not None:
                taken.add(child.id)
                nets.add(small)
                children.append(child)
            if len(children) == CHILDREN:
                break
        yield parent, children


def draw(out: Path, seed: int) -> None:
    """One file a design: 03.toml and its children 03-1.toml to 03-6.toml, so that their names are in order."""
    (out / "designs").mkdir(parents=True, exist_ok=True)
    for number, (parent, children) in enumerate(drawn(load_table("metablock").current, seed)):
        for index, arch in enumerate((parent, *children)):
            name = f"{number:02d}-{index}" if index else f"{number:02d}"
            write_toml(out / "designs" / f"{name}.toml", {"name": "", **arch.to_dict()})
            print(name, arch.name or arch.id[:8], cost(arch).macs, _changes(parent, arch))


def families(out: Path) -> list[list[Architecture]]:
    """Each parent with its children behind it."""
    found: dict[str, list[Architecture]] = {}
    for path in sorted((out / "designs").glob("*.toml"), key=lambda path: path.stem):
        found.setdefault(path.stem[:2], []).append(load(path))
    return list(found.values())


def _changes(parent: Architecture, child: Architecture) -> str:
    """What a mutation changed, in words."""
    before, after = parent.to_dict(), child.to_dict()
    told = [key for key in ("resolution", "stem", "head") if before.get(key) != after.get(key)]
    stages = (before["stages"], after["stages"])
    if len(stages[0]) != len(stages[1]):
        return ", ".join([*told, "number of stages"])
    for index, (a, b) in enumerate(zip(*stages)):
        told += [f"stages[{index}].{key}" for key in sorted(a.keys() | b.keys()) if a.get(key) != b.get(key)]
    return ", ".join(told)


# Trainings.


class Trainings:
    """The lines of a file: known by design, seed, share of the steps and rate."""

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = list(csv.DictReader(path.open())) if path.is_file() else []
        self.lines = [line for line in lines if None not in line.values()]

    def has(self, **key: object) -> bool:
        return any(all(line[name] == str(value) for name, value in key.items()) for line in self.lines)

    def add(self, line: dict[str, Any]) -> None:
        new = not self.path.is_file()
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            if new:
                writer.writeheader()
            writer.writerow(line)
        self.lines.append({name: str(line[name]) for name in COLUMNS})


def continued(fidelity: Fidelity, share: float, lr: float) -> Fidelity:
    """A schedule of its own for a share of the steps, which leaves the weights at the start as they are."""
    kept = {"layer_scale": 0.0, "linear_gain": 0.0, "branch_gain": 1.0, "identity_bias": 0.0}
    steps = round(share * fidelity.samples / fidelity.batch_size)
    return fidelity.replace(samples=steps * fidelity.batch_size, lr=lr, **kept)


def _images(arch: Architecture, fidelity: Fidelity) -> TrialImages:
    return pools(Task(arch, fidelity, 0, DataSplit(), RUNNER), reduced(arch, fidelity).resolution)


def _fresh(arch: Architecture, fidelity: Fidelity, seed: int) -> Model:
    return seeded_model(reduced(arch, fidelity), len(dataset(DataSplit().name).classes), seed)


def _child(arch: Architecture, parent: Model, fidelity: Fidelity, seed: int) -> tuple[Model, float]:
    model, images = _fresh(arch, fidelity, seed), _images(arch, fidelity)
    set_initial_values(model, fidelity)
    pixels, _ = next(iter(images.training.batches([np.arange(4 * fidelity.batch_size)])))
    return model, inherit(model, parent, images.norm.apply(pixels), seed)


def train_all(out: Path, seed: int, shorts: Sequence[tuple[float, float]], chosen: Sequence[int]) -> None:
    torch.set_num_threads(1)
    fidelity, done, found = load_table("metablock").fidelity(0), Trainings(out / "trainings.csv"), families(out)
    for number in chosen or range(len(found)):
        first, designs = found[number][0], found[number]
        keys = [(index, share, lr) for index in range(len(designs)) for share, lr in shorts]
        lacking = [
            key for key in keys
            if not done.has(parent=number, child=key[0], seed=seed, share=round(key[1], 4), lr=key[2])
        ]  # fmt: skip
        if not lacking:
            continue
        parent, images = _fresh(first, fidelity, seed), _images(first, fidelity)
        run = train(parent, images.training, fidelity, images.norm, seed, RUNNER)
        told = score(parent, images.held_out, images.norm)
        if not done.has(parent=number, child=0, seed=seed, share=1.0):
            none = {"start_accuracy": "", "inherited": "", "lr": fidelity.lr, "share": 1.0}
            done.add(_line(number, 0, seed, told.accuracy, told.loss, run.cpu_seconds) | none)
        for index, share, lr in lacking:
            began, arch = time.process_time(), designs[index]
            model, inherited = _child(arch, parent, fidelity, seed) if index else (copy.deepcopy(parent), 1.0)
            making, own = time.process_time() - began, _images(arch, fidelity)
            start = score(model, own.held_out, own.norm).accuracy
            run = train(model, own.training, continued(fidelity, share, lr), own.norm, seed + MORE, RUNNER)
            began = time.process_time()
            told = score(model, own.held_out, own.norm)
            spent = making + run.cpu_seconds + time.process_time() - began
            more = {"share": round(share, 4), "lr": lr, "start_accuracy": round(start, 6)}
            more["inherited"] = round(inherited, 4)
            done.add(_line(number, index, seed, told.accuracy, told.loss, spent) | more)
            print(number, index, f"{share:.2f} {lr}", f"{inherited:.2f} {start:.3f} {told.accuracy:.3f}", flush=True)


def _line(number: int, child: int, seed: int, accuracy: float, loss: float, seconds: float) -> dict[str, Any]:
    told = {"accuracy": round(accuracy, 6), "loss": round(loss, 6), "cpu_seconds": round(seconds, 3)}
    return {"parent": number, "child": child, "seed": seed, **told}


# Analysis.


class Differences:
    """Child minus parent, (pairs,) each: from scratch in the mean over seeds, by one seed, and what stands for them."""

    def __init__(self, out: Path, table: Table, seed: int) -> None:
        rows = table.where(rung=0, split="validation").content
        scratch: dict[str, dict[int, float]] = {}
        for row in rows:
            scratch.setdefault(row.architecture_id, {})[row.seed] = row.accuracy
        short = Trainings(out / "trainings.csv").lines
        lines = {(int(x["parent"]), int(x["child"]), float(x["share"]), float(x["lr"])): x for x in short
                 if int(x["seed"]) == seed}  # fmt: skip
        first_rate = next((key[3] for key in lines if key[2] == 1), 0.0)
        self.settings = sorted({key[2:] for key in lines if key[2] < 1})
        self.pairs: list[tuple[int, int]] = []
        self.told: dict[str, list[float]] = {}
        self.seconds: dict[str, list[tuple[float, float]]] = {}  # of the child, of the parent from scratch
        self.scratch: list[float] = []
        for number, (first, *children) in enumerate(families(out)):
            for index, arch in enumerate(children, 1):
                known = min(len(scratch.get(one.id, {})) for one in (first, arch))
                if known < 3 or any((number, i, *s) not in lines for s in self.settings for i in (0, index)):
                    continue
                self.pairs.append((number, index))
                ours, theirs = scratch[arch.id], scratch[first.id]
                self.scratch.append(float(np.mean(list(ours.values())) - np.mean(list(theirs.values()))))
                for key in self.settings:
                    a, b = lines[(number, index, *key)], lines[(number, 0, *key)]
                    name = f"inherited, {key[0]:.0%} of the steps, rate {key[1]:g}"
                    whole = float(lines[(number, 0, 1.0, first_rate)]["cpu_seconds"])
                    self.seconds.setdefault(name, []).append((float(a["cpu_seconds"]), whole))
                    self._tell(name, float(a["accuracy"]) - float(b["accuracy"]))
                    self._tell(name + ", by loss", float(b["loss"]) - float(a["loss"]))
                self._tell("params", np.log(cost(arch).params / cost(first).params))
                self._tell("MACs", np.log(cost(arch).macs / cost(first).macs))
                others = [[value for key, value in one.items() if key != FIRST_SEED] for one in (ours, theirs)]
                self._tell("one training from scratch", ours[FIRST_SEED] - theirs[FIRST_SEED])
                self._tell("rest", float(np.mean(others[0]) - np.mean(others[1])))

    def _tell(self, name: str, value: float) -> None:
        self.told.setdefault(name, []).append(value)


def tau(a: np.ndarray, b: np.ndarray) -> float:
    return float(kendalltau(a, b).statistic)


def within(a: np.ndarray, b: np.ndarray, parents: np.ndarray) -> float:
    """Mean of the taus among the children of each parent."""
    each = [tau(a[parents == one], b[parents == one]) for one in np.unique(parents)]
    return float(np.nanmean(each))


def interval(measure: Callable[[np.ndarray], float], parents: np.ndarray) -> tuple[float, float]:
    """90 %, parents drawn anew with all their children."""
    rng, groups, found = np.random.default_rng(0), [np.flatnonzero(parents == p) for p in np.unique(parents)], []
    for _ in range(RESAMPLES):
        chosen = np.concatenate([groups[i] for i in rng.integers(len(groups), size=len(groups))])
        found.append(measure(chosen))
    low, high = np.nanquantile(found, [0.05, 0.95])
    return float(low), float(high)


def show(out: Path, table: Table, seed: int) -> None:
    found = Differences(out, table, seed)
    parents, truth = np.array([pair[0] for pair in found.pairs]), np.array(found.scratch)
    print(f"{len(truth)} children of {len(set(parents.tolist()))} parents; differences from scratch scatter by "
          f"{100 * truth.std():.1f} points")  # fmt: skip
    rest = np.array(found.told.pop("rest"))
    for name, pairs in found.seconds.items():
        child, whole = np.array(pairs).sum(0)
        print(f"{name}: {child / whole:.2f} of the parents' processor time at the first rung, scoring of it counted")
    print("| child minus parent, told by | tau with the mean of three from scratch | children of one parent |")
    print("|---|---|---|")
    for name, values in found.told.items():
        told, target = np.array(values), rest if name == "one training from scratch" else truth
        low, high = interval(lambda i, a=told, b=target: tau(a[i], b[i]), parents)
        print(f"| {name} | {tau(told, target):.2f} [{low:.2f}, {high:.2f}] | {within(told, target, parents):.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("draw", "train", "show"))
    parser.add_argument("--out", type=Path, default=Path("results/inheritance"))
    parser.add_argument("--table", default="metablock", help="with the trainings from scratch")
    parser.add_argument("--seed", type=int, default=FIRST_SEED)
    parser.add_argument("--settings", type=int, nargs="+", default=[0, 1, 2], help="which of SHORT")
    parser.add_argument("--parents", type=int, nargs="+", default=[], help="which, in this order (default: all)")
    options = parser.parse_args()
    if options.what == "draw":
        draw(options.out, 0)
    elif options.what == "train":
        train_all(options.out, options.seed, [SHORT[i] for i in options.settings], options.parents)
    else:
        show(options.out, load_table(options.table), options.seed)


if __name__ == "__main__":
    main()
