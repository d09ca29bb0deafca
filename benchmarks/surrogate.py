"""How well the surrogate predicts designs that it has not seen, beside sizes, forests and a single training.

    python benchmarks/surrogate.py ROWS.jsonl results/default results/audit --samples 3200
    python benchmarks/surrogate.py results/table-metablock --samples 3200 --seeds 3 --groups results/inheritance/designs
    python benchmarks/surrogate.py search_spaces/tables/metablock.csv.gz --samples 3200 --new results/table-held-out
    python benchmarks/surrogate.py results/table-metablock --samples 48000 --shorter

Folds of designs, or of whole families (the kind of block with most multiply-adds), are held out with all their rows;
truth is the mean of a held-out design's trainings. Kendall's tau over all and within the truly best third; the share of
truths in their 90 % intervals; seconds of CPU for a fit and for 10,000 predictions. `--seeds` judges by the designs
alone that were trained so often; `--groups` by those of a folder's files (03.toml and its children 03-1.toml, ... are
held out together); `--new` by those of another source, whose rows the others do without. `--shorter` leaves held-out
designs their shorter trainings, as a search has them when it asks which would be best in the end; beside it stands what
these say alone, and with the rows of long training left out altogether.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from trained_designs import Training, family, kendall, read, top_third

from nasbench.arch.architecture import Architecture
from nasbench.arch.library import load
from nasbench.costs.analytic import cost
from nasbench.space.descriptors import descriptors
from nasbench.space.shipped import load_space
from nasbench.surrogate import Surrogate, fit
from nasbench.surrogate.features import features

DEVIATIONS = 1.645
FoldOf = Callable[[Sequence[Architecture]], np.ndarray]
Predictor = Callable[[Sequence[Training], Sequence[Architecture]], np.ndarray]


class Errors(NamedTuple):
    """Held-out designs: truth, the surrogate's mean and deviation with the truth's own noise in it."""

    truth: np.ndarray
    mean: np.ndarray
    std: np.ndarray


def truths(rows: Sequence[Training], samples: int) -> tuple[list[Architecture], np.ndarray, np.ndarray]:
    """The designs trained on so many samples, their mean accuracy and how often they were trained."""
    groups: dict[str, list[Training]] = {}
    for row in rows:
        if row.fidelity.samples == samples:
            groups.setdefault(row.architecture.id, []).append(row)
    means = np.array([np.mean([row.accuracy for row in group]) for group in groups.values()])
    return [group[0].architecture for group in groups.values()], means, np.array([len(g) for g in groups.values()])


def groups_of(folder: Path | None) -> dict[str, int]:
    """Id -> number of its group, of the designs in a folder."""
    paths = [] if folder is None else sorted(folder.glob("*.toml"))
    names = sorted({path.stem.partition("-")[0] for path in paths})
    return {load(path).id: names.index(path.stem.partition("-")[0]) for path in paths}


def folds(archs: Sequence[Architecture], grouped: bool, count: int, groups: Mapping[str, int]) -> np.ndarray:
    """(n,) the fold of each design; -1 of those that are in no group, where there are any."""
    if groups:
        return np.array([groups.get(arch.id, -1) for arch in archs])
    if grouped:
        names, index = np.unique([family(arch) for arch in archs], return_inverse=True)
        return index % max(2, min(count, len(names)))
    return np.random.default_rng(0).permutation(len(archs)) % count


def forest(describe: Callable[[Sequence[Architecture]], np.ndarray], samples: int, extra: bool) -> Predictor:
    """Trees on one training a row at the target's fidelity."""
    from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor

    def predict(rows: Sequence[Training], archs: Sequence[Architecture]) -> np.ndarray:
        own = [row for row in rows if row.fidelity.samples == samples]
        trees = (
            ExtraTreesRegressor(200, min_samples_leaf=2, max_features=0.5, random_state=0)
            if extra
            else (RandomForestRegressor(64, min_samples_leaf=2, random_state=0))
        )
        trees.fit(describe([row.architecture for row in own]), [row.accuracy for row in own])
        return np.asarray(trees.predict(describe(archs)))

    return predict


def shorter_mean(rows: Sequence[Training], arch: Architecture, samples: int) -> float:
    """A design's mean accuracy at the longest of its trainings below so many samples; NaN without any."""
    own = [row for row in rows if row.architecture.id == arch.id and row.fidelity.samples < samples]
    longest = max((row.fidelity.samples for row in own), default=0)
    return float(np.mean([row.accuracy for row in own if row.fidelity.samples == longest] or [np.nan]))


def evaluate_longer(rows: Sequence[Training], samples: int, fold_of: FoldOf) -> None:
    """How well longer training is told of designs whose shorter trainings are known."""
    archs, truth, times = truths(rows, samples)
    fold, target = fold_of(archs), next(row.fidelity for row in rows if row.fidelity.samples == samples)
    cheaper = [row for row in rows if row.fidelity.samples < samples]

    def model_of(seen: Sequence[Training]) -> Surrogate:
        return fit(*zip(*[(row.architecture, row.fidelity, row.accuracy) for row in seen]), long=target)

    mean, std, noise = np.zeros(len(archs)), np.zeros(len(archs)), 0.0
    for one in np.unique(fold):
        held = np.flatnonzero(fold == one)
        ids = {archs[i].id for i in held}
        model = model_of([row for row in rows if row.fidelity.samples < samples or row.architecture.id not in ids])
        mean[held], std[held] = model.predict([archs[i] for i in held], target)
        noise = model.noise(target)
    alone = np.array([shorter_mean(rows, arch, samples) for arch in archs])
    found = {
        "surrogate": mean,
        "without longer rows": model_of(cheaper).predict(archs).mean,
        "its shorter trainings": np.nan_to_num(alone),
        "MACs": np.array([cost(arch).macs for arch in archs], float),
        "params": np.array([cost(arch).params for arch in archs], float),
    }
    report(found, Errors(truth, mean, np.hypot(std, noise / np.sqrt(times))), "longer trainings of designs", samples)


def evaluate(rows: Sequence[Training], samples: int, fold_of: FoldOf, what: str, seeds: int = 1) -> None:
    archs, truth, times = truths(rows, samples)
    fold, recipe = fold_of(archs), rows[0].fidelity
    judged = np.flatnonzero((fold >= 0) & (times >= seeds))
    others: dict[str, Predictor] = {
        "forest, 12 descriptors": forest(lambda a: np.stack([descriptors(one) for one in a]), samples, False),
        "extra trees, our features": forest(lambda a: features(a, recipe), samples, True),
    }
    found = {name: np.zeros(len(archs)) for name in ("surrogate", *others)}
    std = np.zeros(len(archs))
    for one in np.unique(fold[judged]):
        held = judged[fold[judged] == one]
        ids = {archs[i].id for i in np.flatnonzero(fold == one)}
        seen = [row for row in rows if row.architecture.id not in ids]
        new, target = [archs[i] for i in held], next(r.fidelity for r in rows if r.fidelity.samples == samples)
        model = fit(*zip(*[(row.architecture, row.fidelity, row.accuracy) for row in seen]))
        found["surrogate"][held], deviation = model.predict(new, target)
        std[held] = np.hypot(deviation, model.noise(target) / np.sqrt(times[held]))
        for name, predictor in others.items():
            found[name][held] = predictor(seen, new)
    found["MACs"] = np.array([cost(arch).macs for arch in archs], float)
    found["params"] = np.array([cost(arch).params for arch in archs], float)
    found = {name: values[judged] for name, values in found.items()}
    report(found, Errors(truth[judged], found["surrogate"], std[judged]), what, samples)
    single_training(rows, [archs[i] for i in judged], samples)


def report(found: dict[str, np.ndarray], errors: Errors, what: str, samples: int) -> None:
    truth = errors.truth
    print(
        f"{len(truth)} designs at {samples} samples, {what} held out; truth has a deviation of {100 * truth.std():.1f}"
    )
    for name, values in found.items():
        print(f"  {name:27} tau {kendall(values, truth):6.3f}   top third {top_third(values, truth):6.3f}")
    off = errors.truth - errors.mean
    inside = np.abs(off) <= DEVIATIONS * errors.std
    error = 100 * np.sqrt(np.mean(off**2))
    print(f"  surrogate: error {error:.1f} points, 90 % intervals hold {100 * inside.mean():.0f} %")


def single_training(rows: Sequence[Training], archs: Sequence[Architecture], samples: int) -> None:
    """What one training says of the mean of the others, where a design has several."""
    firsts, rest = [], []
    for arch in archs:
        own = [r.accuracy for r in rows if r.architecture.id == arch.id and r.fidelity.samples == samples]
        if len(own) > 1:
            firsts.append(own[0])
            rest.append(float(np.mean(own[1:])))
    if len(firsts) > 3:
        one, others = np.array(firsts), np.array(rest)
        print(
            f"  a single training          tau {kendall(one, others):6.3f}   top third {top_third(one, others):6.3f}"
            f"   (of {len(one)} designs with several)"
        )


def times(rows: Sequence[Training], count: int = 10_000) -> None:
    """CPU seconds of a fit, of features and of predictions."""
    space, rng = load_space("metablock"), np.random.default_rng(0)
    start = time.process_time()
    model = fit(*zip(*[(row.architecture, row.fidelity, row.accuracy) for row in rows]))
    fitted = time.process_time()
    known = [row.architecture for row in rows if space.contains(row.architecture)]
    new = [space.mutate(known[i % len(known)], rng, 2) for i in range(min(count, 2000))]
    made = time.process_time()
    features(new, rows[0].fidelity)
    featured = time.process_time()
    model.predict((new * (count // len(new) + 1))[:count])
    done = time.process_time()
    each = 1000 * (featured - made) / len(new)
    print(
        f"CPU seconds: fit of {len(rows)} rows {fitted - start:.1f} (their features in it), {count} predictions "
        f"{done - featured:.1f}, features {each:.2f} ms a new design; {len(model.levels)} fidelities"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="+", type=Path)
    parser.add_argument("--recipe", default="proxy-even")
    parser.add_argument("--samples", type=int, nargs="*", help="of the fidelities predicted; by default the commonest")
    parser.add_argument("--folds", type=int, default=8)
    parser.add_argument("--grouped", action="store_true", help="hold whole families out, too")
    parser.add_argument("--seeds", type=int, default=1, help="judge by designs with so many trainings")
    parser.add_argument("--groups", type=Path, help="folder of designs that are held out group by group")
    parser.add_argument("--new", type=Path, help="source of designs that are judged and never learnt from")
    parser.add_argument("--shorter", action="store_true", help="held-out designs keep their shorter trainings")
    parser.add_argument("--times", action="store_true", help="measure times, too")
    options = parser.parse_args()
    rows, groups = read(options.sources, options.recipe), groups_of(options.groups)
    if options.new is not None:
        others = read([options.new], options.recipe)
        groups = {row.architecture.id: 0 for row in others}
        rows = [row for row in rows if row.architecture.id not in groups] + others
    counts = {
        n: len({r.architecture.id for r in rows if r.fidelity.samples == n})
        for n in sorted({r.fidelity.samples for r in rows})
    }
    print(f"{len(rows)} trainings; designs by samples: {counts}; measured")
    for samples in options.samples or [max(counts, key=counts.__getitem__)]:
        for grouped in (False, True)[: 1 + options.grouped]:
            what = "new designs" if options.new else "groups" if groups else "families" if grouped else "designs"
            fold_of = partial(folds, grouped=grouped, count=options.folds, groups=groups)
            if options.shorter:
                evaluate_longer(rows, samples, fold_of)
                continue
            evaluate(rows, samples, fold_of, what, options.seeds)
    if options.times:
        times(rows)


if __name__ == "__main__":
    main()
