"""Does a score of accuracy, loss and training-loss tail together rank designs better than accuracy alone?

    python benchmarks/denoised_score.py results/audit                       # second seed as the truth
    python benchmarks/denoised_score.py ROWS.jsonl --samples 3200           # the longest training as the truth

Truth is the mean accuracy at the longest training; where that is the rung itself, of its other seeds. The score is
regressed on the truth of other families (the kind of block with most multiply-adds).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from trained_designs import Training, family, kendall, read, top_third

from nasbench.auditing.agreement import advantage

SIGNALS = ("accuracy", "loss", "train_loss_tail")


def truth_of(row: Training, rows: list[Training], samples: int) -> float:
    """The mean accuracy of the same design's other trainings on so many samples; NaN where there are none."""
    others = [
        one.accuracy
        for one in rows
        if one.architecture.id == row.architecture.id and one.fidelity.samples == samples and one is not row
    ]
    return float(np.mean(others)) if others else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="+", type=Path)
    parser.add_argument("--recipe", default="proxy")
    parser.add_argument("--samples", type=int, help="of the rung whose trainings are scored; by default the commonest")
    parser.add_argument("--truth", type=int, help="samples of the truth; by default the longest with 20 designs")
    options = parser.parse_args()
    rows = read(options.sources, options.recipe)
    counts = {
        n: len({r.architecture.id for r in rows if r.fidelity.samples == n}) for n in {r.fidelity.samples for r in rows}
    }
    samples = options.samples or max(counts, key=counts.__getitem__)
    target = options.truth or max(n for n, count in counts.items() if count >= min(20, max(counts.values())))
    print(f"designs by samples: {dict(sorted(counts.items()))}; rung of {samples} samples, truth at {target}")
    rung = [(row, truth_of(row, rows, target)) for row in rows if row.fidelity.samples == samples]
    rung = [(row, truth) for row, truth in rung if np.isfinite(truth)]
    first = {row.architecture.id: (row, truth) for row, truth in reversed(rung)}  # one seed a design
    compare([row for row, _ in first.values()], np.array([truth for _, truth in first.values()]))


def compare(rows: list[Training], truth: np.ndarray) -> None:
    """Kendall's tau of accuracy, of its losses, and of all together, families held out."""
    signals = np.array([[row.accuracy, row.loss, row.tail] for row in rows])
    families = np.array([family(row.architecture) for row in rows])
    model = make_pipeline(StandardScaler(), Ridge(alpha=1.0))
    denoised = cross_val_predict(model, signals, truth, groups=families, cv=LeaveOneGroupOut())
    print(f"{len(rows)} designs of {len(np.unique(families))} families, one training each; measured")
    figures = {"accuracy": signals[:, 0], "loss": -signals[:, 1], "training-loss tail": -signals[:, 2]}
    for name, score in (figures | {"denoised, families held out": denoised}).items():
        print(f"{name:30} tau {kendall(score, truth):.3f}   top third {top_third(score, truth):.3f}")
    gain = advantage(denoised, signals[:, 0], truth)
    if gain:
        print(f"denoised minus accuracy: {gain.tau:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}] (90 %, over designs)")
    weights = model.fit(signals, truth)[-1].coef_
    print("points a deviation of:", ", ".join(f"{name} {100 * w:+.2f}" for name, w in zip(SIGNALS, weights)))


if __name__ == "__main__":
    main()
