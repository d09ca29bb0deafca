"""The surrogate on networks whose true accuracy is known: Accel-NASBench (afzalxo/Accel-NASBench, Apache-2.0).

    python benchmarks/surrogate_accel.py PATH/accel_nasbench.csv.gz --rows 100 300 --noise 0 2

Its networks (seven stages of MBConv: expansion, kernel, depth, squeeze-excite) are spelled as architectures. So many
rows teach the surrogate, their accuracies (ImageNet top-1 of a short recipe) with so many points of noise added; a
thousand others are ranked. Means over three draws of the rows; beside it extra trees on the same features, and MACs.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.ensemble import ExtraTreesRegressor
from trained_designs import kendall, top_third

from nasbench.arch.architecture import Architecture
from nasbench.costs.analytic import cost
from nasbench.study.fidelity import load_recipe
from nasbench.surrogate import fit
from nasbench.surrogate.features import features

CHANNELS, STRIDES = (16, 24, 40, 80, 112, 192, 320), (1, 2, 2, 2, 1, 2, 1)  # MnasNet's
HELD_OUT, DRAWS = 1000, 3


def architecture(row: Mapping[str, object]) -> Architecture:
    """The network of one line of the table."""
    stages = [
        {
            "block": "mbconv", "downsample": "block", "stride": stride, "channels": channels,
            "depth": row[f"block{i}_l"], "expansion": float(row[f"block{i}_e"]), "kernel": row[f"block{i}_k"],
            "se": 0.25 if row[f"block{i}_se"] else 0.0,
        }
        for i, (channels, stride) in enumerate(zip(CHANNELS, STRIDES))
    ]  # fmt: skip
    ends = {"stem": {"kind": "conv", "channels": 32}, "head": {"kind": "conv", "width": 1280}}
    return Architecture.from_dict({"resolution": 224, "stages": stages, **ends})


def draws(archs: list[Architecture], truth: np.ndarray, rows: int, noise: float) -> Iterator[dict[str, np.ndarray]]:
    """What each predictor says of the held-out networks."""
    fidelity = load_recipe().at(3200)
    new = archs[-HELD_OUT:]
    macs = np.array([cost(arch).macs for arch in new], float)
    for draw in range(DRAWS):
        rng = np.random.default_rng(draw)
        chosen = rng.permutation(len(archs) - HELD_OUT)[:rows]
        seen, told = [archs[i] for i in chosen], np.clip(truth[chosen] + noise * rng.normal(size=rows), 0, 1)
        found = fit(seen, [fidelity] * rows, list(told)).predict(new)
        trees = ExtraTreesRegressor(300, min_samples_leaf=2, max_features=0.5, random_state=0)
        trees.fit(features(seen, fidelity), told)
        others = {"extra trees": trees.predict(features(new, fidelity)), "MACs": macs}
        yield {"surrogate": found.mean, **others, "std": found.std}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--rows", type=int, nargs="+", default=[100, 300])
    parser.add_argument("--noise", type=float, nargs="+", default=[0.0, 2.0], help="points of accuracy")
    options = parser.parse_args()
    table = pd.read_csv(options.table).sample(HELD_OUT + max(options.rows) * 2, random_state=0)
    archs, truth = [architecture(row) for row in table.to_dict("records")], table.val_top1.to_numpy() / 100
    for noise in options.noise:
        for rows in options.rows:
            found = list(draws(archs, truth, rows, noise / 100))
            print(f"{rows} rows, noise of {noise:g} points; {HELD_OUT} held out")
            for name in ("surrogate", "extra trees", "MACs"):
                taus = [
                    (kendall(one[name], truth[-HELD_OUT:]), top_third(one[name], truth[-HELD_OUT:])) for one in found
                ]
                print(f"  {name:12} tau {np.mean(taus, 0)[0]:.3f}   top third {np.mean(taus, 0)[1]:.3f}")
            inside = [np.abs(one["surrogate"] - truth[-HELD_OUT:]) <= 1.645 * one["std"] for one in found]
            print(f"  90 % intervals hold {100 * np.mean(inside):.0f} %", flush=True)


if __name__ == "__main__":
    main()
