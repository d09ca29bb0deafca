"""How well the memory of networks is predicted that a fit has not seen.

    python benchmarks/memory_accuracy.py results/latency/memory.json             # fits and compares; seconds
    python benchmarks/memory_accuracy.py results/latency/memory.json --measure   # measures what the file lacks first

Fitted on the networks that a calibration chooses (seed 0, 48 of them); compared on random ones of the same space and on
published networks, some of families that the space does not hold. Memory is what `latency fit --memory`
measures: onnxruntime, float32, one thread, the largest of three processes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from nasbench import load_space
from nasbench.arch.architecture import Architecture
from nasbench.arch.library import fixed_points
from nasbench.costs.analytic import cost
from nasbench.latency import standalone
from nasbench.latency.prediction import accuracy
from nasbench.latency.predictor import fit
from nasbench.latency.resources import SHRINKAGE, memory_features
from nasbench.latency.selection import MAX_MACS, calibration_set

CLASSES = 1000
FITTED, RANDOM, PUBLISHED = 48, 24, 16
MAX_PUBLISHED_MACS, MAX_PUBLISHED_PARAMS = 3e9, 4e7


def networks() -> Iterator[tuple[str, Architecture]]:
    """(group, network): fitted, random, published; none twice."""
    space, fixed = load_space("metablock"), fixed_points().values()
    known = set()
    for arch in calibration_set(space, FITTED, np.random.default_rng(0), fixed):
        known.add(arch.id)
        yield "fitted", arch
    rng, drawn = np.random.default_rng(77), 0
    while drawn < RANDOM:
        arch = space.sample(rng)
        if arch.id not in known and cost(arch).macs < MAX_MACS:
            drawn += 1
            yield "random", arch
    small = [a for a in fixed if cost(a).macs < MAX_PUBLISHED_MACS and cost(a).params < MAX_PUBLISHED_PARAMS]
    for arch in [a for a in small if a.id not in known][:PUBLISHED]:
        yield "published", arch


def measure(path: Path) -> None:
    """Measure what `path` lacks; it is written after each network, so that a stop loses one."""
    from nasbench.latency import runtimes
    from nasbench.latency.device import Settings
    from nasbench.latency.export import deploy_form

    held = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    for group, arch in networks():
        if arch.id in held:
            continue
        with tempfile.TemporaryDirectory() as folder:
            file = runtimes.write_file(deploy_form(arch, CLASSES), arch.resolution, Settings(), Path(folder) / "net")
            peak = standalone.peak_bytes(str(file), "onnxruntime", 1, {"dtype": "fp32"})
        held[arch.id] = {"group": group, "label": arch.label, "peak": peak, "architecture": arch.to_dict()}
        path.write_text(json.dumps(held, indent=0), encoding="utf-8")


def compare(held: dict[str, dict[str, Any]]) -> None:
    """Print each group's rank correlation, error, and how many the interval covers."""
    groups: dict[str, list[tuple[Architecture, float]]] = {}
    for key, row in held.items():
        arch = Architecture.from_dict(row["architecture"], source=key)
        groups.setdefault(row["group"], []).append((arch, row["peak"] / 1e6))
    fitted = groups.pop("fitted")
    features = [memory_features(arch, CLASSES) for arch, _ in fitted]
    predictor = fit(features, [mb for _, mb in fitted], shrinkage=SHRINKAGE["memory_bytes"], unit="MB")
    print(f"{len(fitted)} networks fitted; held out in folds: {predictor.held_out}")
    print("MB for a MB of each:", {name: round(weight, 2) for name, weight in predictor.weights.items()})
    print(f"90 % interval x/÷ {np.exp(predictor.log_error):.3f}\n")
    for name, rows in groups.items():
        found = predictor.predict([memory_features(arch, CLASSES) for arch, _ in rows])
        measured = np.array([mb for _, mb in rows])
        told, inside = accuracy(found.latency_ms, measured), (found.low_ms <= measured) & (measured <= found.high_ms)
        print(
            f"{name:<10} {len(rows)} networks, {measured.min():.0f} to {measured.max():.0f} MB: Spearman "
            f"{told.spearman:.3f}, error {told.mape:.1%}, inside the interval {inside.mean():.0%}, "
            f"above it {(measured > found.high_ms).mean():.0%}, extrapolating {found.extrapolating.sum()}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--measure", action="store_true", help="measure the networks that the file lacks first")
    options = parser.parse_args()
    if options.measure:
        measure(options.file)
    compare(json.loads(options.file.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
