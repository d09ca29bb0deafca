"""How well a pack's profile predicts networks that are not in it, measured on the same device by a second pack.

    cd results/latency
    python ../../benchmarks/pack_accuracy.py openvino_avx2_pack.json openvino_avx2_held_out.json

The profile is fitted as `nasbench latency import` fits it, with the shipped prior; both files are results of packs, and
the networks of the second are scaled by the first one's reference. Multiply-adds alone are fitted to the same pack.
Networks whose latencies went into the prior are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path

import numpy as np

from nasbench.arch.architecture import Architecture
from nasbench.costs.analytic import cost
from nasbench.latency.device import Measurement
from nasbench.latency.linear import relative_nnls
from nasbench.latency.pack import Results, read_results
from nasbench.latency.prediction import accuracy

PRIOR = Path(__file__).parents[1] / "results/latency/onnxruntime.json"  # see latency_prior.py


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pack", type=Path)
    parser.add_argument("held_out", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        os.environ["NASBENCH_CACHE"] = cache  # the user's own profiles are no priors here
        profile = read_results(given.pack, accept_noise=True)
    known = {record.id for record in profile.records} | {
        row["id"] for row in json.loads(PRIOR.read_text(encoding="utf-8"))["records"]
    }
    found = [record for record in Results.read(given.held_out).records if record.id not in known]
    asked = [Architecture.from_dict(record.architecture, source=record.id) for record in found]
    clock, quiet_ms = profile.protocol.clock, profile.reference_ms
    measured = np.array([Measurement.of(record.passes, clock, quiet_ms).latency_ms for record in found])
    got = profile.predict(asked)
    ours = accuracy(got.latency_ms, measured)
    theirs = accuracy(_by_macs(profile, asked), measured)
    inside = (got.low_ms <= measured) & (measured <= got.high_ms)
    print(f"{profile.device.runtime}, {profile.protocol.clock} time; passes deviate by {profile.deviation:.1%}")
    span = f"{measured.min():.1f} to {measured.max():.1f} ms"
    print(f"{len(profile.records)} networks fitted, {len(found)} held out, {span}")
    print(f"this package: Spearman {ours.spearman:.3f}, MAPE {ours.mape:.1%}, within 10 % {ours.within_10_percent:.0%}")
    print(f"multiply-adds: Spearman {theirs.spearman:.3f}, MAPE {theirs.mape:.1%}")
    print(f"interval x/÷ {np.exp(profile.predictor.log_error):.3f} covers {inside.mean():.0%}, "
          f"{got.extrapolating.sum()} extrapolate")  # fmt: skip


def _by_macs(profile, asked: list[Architecture]) -> np.ndarray:  # type: ignore[no-untyped-def]
    def columns(architectures: list[Architecture]) -> np.ndarray:
        return np.array([[1.0, float(cost(a).macs)] for a in architectures])

    seen = [Architecture.from_dict(record.architecture, source=record.id) for record in profile.records]
    latency = np.array([record.measurement.latency_ms for record in profile.records])
    return columns(asked) @ relative_nnls(columns(seen), latency)


if __name__ == "__main__":
    main()
