"""The measurements behind results/latency: networks of a space on this machine, with all raw passes.

    python benchmarks/latency_data.py OUT.json --random 156 --chosen 50 --fixed --runtime onnxruntime

Measures `--chosen` networks as a calibration would choose them, `--random` plain draws, and the fixed points, all by
the package's own protocol, and writes them as one JSON file that latency_accuracy.py reads.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from nasbench import load_space
from nasbench.arch.architecture import Architecture
from nasbench.arch.library import fixed_points
from nasbench.costs.analytic import cost
from nasbench.latency.calibrate import record_of
from nasbench.latency.device import Settings, this_device
from nasbench.latency.measure import Session
from nasbench.latency.records import Protocol, Reference
from nasbench.latency.reference import REFERENCE_NAME, reference_hash
from nasbench.latency.selection import calibration_set

CHUNK = 48  # networks whose passes go round together; more files than that fill a disk
MAX_MACS = 20e9  # of a fixed point: a second and more a run on one core, and no file above 2 GB


def networks(space_name: str, chosen: int, random: int, fixed: bool, seed: int) -> list[tuple[str, Architecture]]:
    """(group, network): `chosen` by k-centre for fitting, `random` draws and the fixed points to be held out."""
    space = load_space(space_name)
    found = [("chosen", a) for a in calibration_set(space, chosen, np.random.default_rng(seed))] if chosen else []
    known, rng = {a.id for _, a in found}, np.random.default_rng(seed + 1)
    if fixed:
        found += [("fixed", a) for a in fixed_points().values() if cost(a).macs <= MAX_MACS]
    while sum(group == "random" for group, _ in found) < random:
        candidate = space.sample(rng)
        if candidate.id not in known:
            known.add(candidate.id)
            found.append(("random", candidate))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--space", default="metablock")
    parser.add_argument("--chosen", type=int, default=50)
    parser.add_argument("--random", type=int, default=156)
    parser.add_argument("--fixed", action="store_true", help="the fixed points too")
    parser.add_argument("--runtime", default="onnxruntime")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    settings, start = Settings(given.runtime), time.monotonic()
    everything = networks(given.space, given.chosen, given.random, given.fixed, given.seed)
    everything = [everything[i] for i in np.random.default_rng(given.seed).permutation(len(everything))]
    rows: list[dict[str, Any]] = []
    reference_ms, clock = None, ""
    for first in range(0, len(everything), CHUNK):
        with Session(settings, reference_ms) as session:
            taken = []
            for group, architecture in everything[first : first + CHUNK]:
                try:
                    session.add(architecture)
                    taken.append((group, architecture))
                except Exception as error:  # told, and left out
                    print(f"{architecture.id}: {error}", flush=True)
            session.finish()
            reference_ms, clock = session.reference_ms, session.clock
            for index, (group, architecture) in enumerate(taken):
                rows.append({"group": group, **record_of(session, index, architecture).model_dump(mode="json")})
        print(f"{len(rows)} of {len(everything)} after {time.monotonic() - start:.0f} s", flush=True)
        reference = Reference(name=REFERENCE_NAME, sha256=reference_hash(), quiet_ms=reference_ms)
        content = {
            "device": this_device(settings).__dict__,
            "protocol": Protocol.of(clock).model_dump(),
            "reference": reference.model_dump(),
            "records": rows,
        }
        given.out.write_text(json.dumps(content), encoding="utf-8")


if __name__ == "__main__":
    main()
