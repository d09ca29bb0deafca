"""How well latency is predicted on this machine: held-out networks of a space, measured, against four predictors.

    python benchmarks/latency_accuracy.py --networks 80 --fit 40

Measures networks as `calibration_set` chooses them, fits on `--fit` of them at random, and prints for the rest
the rank correlation, the mean absolute relative error, and the shares within 5 and 10 %: over all, and inside the
middle third of latencies, where a global correlation hides everything.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from nasbench import load_space
from nasbench.architecture import Architecture
from nasbench.cost import cost
from nasbench.latency.calibrate import _record, calibration_set, measure_architectures
from nasbench.latency.device import this_device
from nasbench.latency.predictor import accuracy, fit
from nasbench.latency.profile import Record, architecture_features
from nasbench.library import fixed_points

CLASSES = 1000
Describe = Callable[[Architecture], dict[str, float]]

PREDICTORS: dict[str, Describe] = {
    "params": lambda a: {"nets": 1.0, "params": cost(a, CLASSES).params},
    "FLOPs": lambda a: {"nets": 1.0, "macs": cost(a, CLASSES).macs},
    "FLOPs + bytes": lambda a: {
        "nets": 1.0,
        "macs": cost(a, CLASSES).macs,
        "bytes": sum(v for k, v in architecture_features(a, CLASSES).items() if k.endswith((".bytes", "weights"))),
    },
    "per-kind roofline": lambda a: architecture_features(a, CLASSES),
}


def measured_networks(space_name: str, n: int, seed: int) -> list[Record]:
    """`n` networks chosen as a calibration would choose them, measured on this machine."""
    rng = np.random.default_rng(seed)
    chosen = calibration_set(load_space(space_name), n, rng, fixed_points().values())
    start = time.monotonic()
    measured = measure_architectures(
        chosen, progress=lambda done, total: print(f"measured {done} of {total}", end="\r", flush=True)
    )
    print(f"measured {n} networks in {time.monotonic() - start:.0f} s")
    return [_record(a, m, m.reference_ms) for a, m in zip(chosen, measured, strict=True)]


def report(records: Sequence[Record], n_fit: int, splits: int, seed: int) -> None:
    architectures = [Architecture.from_dict(r.architecture, source=r.id) for r in records]
    latency_ms = np.array([r.measurement.latency_ms for r in records])
    spread = np.array([r.measurement.spread for r in records])
    noisy = sum(r.measurement.noisy for r in records)
    print(f"{this_device()}")
    print(f"{len(records)} networks, {latency_ms.min():.2f} to {latency_ms.max():.2f} ms; passes deviate by", end=" ")
    print(f"{np.median(spread):.1%} (median), {np.quantile(spread, 0.9):.1%} (90 %); {noisy} noisy")
    band = np.quantile(latency_ms, [1 / 3, 2 / 3])
    print(
        f"fitted on {n_fit}, the rest held out, mean of {splits} random splits; band {band[0]:.1f} to {band[1]:.1f} ms"
    )
    print(f"{'':18} Spearman   MAPE  <=5 %  <=10 %  band Spearman  covered  extrapolating")
    for name, describe in PREDICTORS.items():
        rows = _split_scores([describe(a) for a in architectures], latency_ms, band, n_fit, splits, seed)
        s, mape, five, ten, inside, covered, out = rows.mean(axis=0)
        print(f"{name:18} {s:8.3f} {mape:6.1%} {five:6.0%} {ten:7.0%} {inside:14.3f} {covered:8.0%} {out:14.0%}")


def _split_scores(
    networks: Sequence[dict[str, float]], latency_ms: np.ndarray, band: np.ndarray, n_fit: int, splits: int, seed: int
) -> np.ndarray:
    """(splits, 7): Spearman, MAPE, within 5 %, within 10 %, Spearman in the band, coverage, share extrapolating."""
    rows = []
    for split in range(splits):
        order = np.random.default_rng(seed + split).permutation(len(networks))
        seen, new = order[:n_fit], order[n_fit:]
        predicted = fit([networks[i] for i in seen], latency_ms[seen].tolist()).predict([networks[i] for i in new])
        truth = latency_ms[new]
        inside = (band[0] <= truth) & (truth <= band[1])
        scores = accuracy(predicted.latency_ms, truth)
        five = np.mean(np.abs(predicted.latency_ms / truth - 1) <= 0.05)
        covered = np.mean((predicted.low_ms <= truth) & (truth <= predicted.high_ms))
        band_rank = accuracy(predicted.latency_ms[inside], truth[inside]).spearman
        extrapolating = predicted.extrapolating.mean()
        rows.append((scores.spearman, scores.mape, five, scores.within_10_percent, band_rank, covered, extrapolating))
    return np.array(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", default="metablock")
    parser.add_argument("--networks", type=int, default=80)
    parser.add_argument("--fit", type=int, default=40)
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--records", type=Path, help="read the measurements from here, or write them here")
    given = parser.parse_args()
    stored = TypeAdapter(list[Record])
    if given.records and given.records.is_file():
        records = stored.validate_json(given.records.read_text())
    else:
        records = measured_networks(given.space, given.networks, given.seed)
        if given.records:
            given.records.write_text(json.dumps(stored.dump_python(records), indent=1))
    report(records, given.fit, given.splits, given.seed)


if __name__ == "__main__":
    main()
