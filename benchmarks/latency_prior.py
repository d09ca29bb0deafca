"""Makes the kernel times that come with the package, from measurements of latency_data.py with onnxruntime.

python benchmarks/latency_prior.py results/latency/onnxruntime.json nasbench/latency/shipped_prior.json
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from latency_accuracy import read

from nasbench.latency.kernels import fit_kernels, scaled

TREES = 8  # of the device's own fit there are more; the file is a third of a megabyte a ten


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="measurements of latency_data.py")
    parser.add_argument("target", type=Path, help="the prior to write")
    options = parser.parse_args()
    data, target = read(options.source), options.target
    timed = [scaled(n.kernels, n.reported, ms) for n, ms in zip(data.networks, data.latency_ms, strict=True)]
    model = fit_kernels([pair for pairs in timed for pair in pairs], data.runtime, trees=TREES)
    assert model is not None
    target.write_text(json.dumps(asdict(model), separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"{len(data.networks)} networks, {len(model.forest.feature)} nodes, {target.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
