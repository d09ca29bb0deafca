"""Whether a regression of published top-1 on a proxy's score and a network's size ranks families it has not seen.

    python benchmarks/audit_regression.py results/audit/audit.csv

Ridge regression on standardised columns, each family predicted by a fit to the others. Kendall's tau with published
top-1 of plain ImageNet-1k training, and how many pairs of different families that are alike in multiply-adds (a factor
of 1.5) and 1.5 points apart it orders. Beside it the columns alone.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import kendalltau
from sklearn.linear_model import Ridge
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

ALIKE, APART = 1.5, 1.5
COLUMNS = (("log macs", "log params"), ("accuracy", "log macs", "log params"), ("loss", "log macs", "log params"))


def pairs_in_order(score: np.ndarray, frame: pd.DataFrame) -> tuple[int, int]:
    """Pairs of different families, alike in cost and apart in published top-1: those in order, and all."""
    published, macs, family = (frame[name].to_numpy() for name in ("published", "macs", "family"))
    right = total = 0
    for i, j in itertools.combinations(range(len(frame)), 2):
        alike = abs(np.log(macs[i] / macs[j])) <= np.log(ALIKE)
        if family[i] != family[j] and alike and abs(published[i] - published[j]) >= APART:
            total += 1
            right += bool((score[i] - score[j]) * (published[i] - published[j]) > 0)
    return right, total


def line(name: str, score: np.ndarray, frame: pd.DataFrame) -> str:
    right, total = pairs_in_order(score, frame)
    return f"{name:44} tau {kendalltau(score, frame.published).statistic:5.2f}   pairs {right}/{total}"


def held_out(columns: Sequence[str], frame: pd.DataFrame) -> np.ndarray:
    """Each network's published top-1 as a fit to the other families tells it."""
    model = make_pipeline(StandardScaler(), Ridge(0.3))
    inputs = frame[list(columns)]
    return cross_val_predict(model, inputs, frame.published, groups=frame.family, cv=LeaveOneGroupOut())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("audit", help="audit.csv of an audit's folder")
    frame = pd.read_csv(parser.parse_args().audit)
    frame = frame[frame.training == "plain"].reset_index(drop=True)
    frame = frame.assign(**{f"log {name}": np.log(frame[name]) for name in ("macs", "params")})
    for name in ("accuracy", "macs", "params"):
        print(line(f"{name} alone", frame[name].to_numpy(), frame))
    for columns in COLUMNS:
        print(line("regression on " + ", ".join(columns), held_out(columns, frame), frame))


if __name__ == "__main__":
    main()
