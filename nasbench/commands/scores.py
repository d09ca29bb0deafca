"""`nasbench score ARCH...`: scores of untrained networks (zero-cost proxies), beside their sizes."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING, Any

from nasbench.commands.common import add_data, add_verb, fidelity_at, positive, print_json, print_table, whole
from nasbench.commands.networks import ARCH_HELP

if TYPE_CHECKING:
    from nasbench.arch.architecture import Architecture

EXAMPLE = """nasbench score mobilevit_s emo_1m results/mine/designs/a1b2c3d4.toml
nasbench score emo_1m mobileone_s0 --seeds 3 --json"""
NOTE = (
    "Taken on the reduced network that a search would train, before any training; larger should be better. On the "
    "shipped table none ranks designs better than counting multiply-adds does (results/scores): filter by none of them."
)


def add(verbs: Any) -> None:
    score = add_verb(
        verbs, "score", "scores of untrained networks (SynFlow, NASWOT, ZiCo, ...) beside params and MACs", EXAMPLE,
        _score, True,
    )  # fmt: skip
    add = score.add_argument
    add("architectures", nargs="+", metavar="ARCH", help=ARCH_HELP)
    add_data(score)
    add("--runner", default="laptop", help="whose recipe and device (default: laptop)")
    add("--rung", type=whole, default=0, metavar="K", help="as this rung would train it (default: 0)")
    add("--seeds", type=positive, default=1, metavar="K", help="initial weights, whose mean is told (default: 1)")


def _score(options: argparse.Namespace) -> int:
    from nasbench.arch.library import load
    from nasbench.study.task import require_images_for

    archs = [load(text) for text in options.architectures]
    for arch in archs:
        arch.require_classes()
        require_images_for(arch.in_channels, arch.label)
    found = [_scores_of(arch, options) for arch in archs]
    if options.json:
        about = {"data": options.data, "runner": options.runner, "rung": options.rung}
        print_json({**about, "networks": found})
        return 0
    print_table([_line(each) for each in found])
    print(NOTE)
    return 0


def _scores_of(arch: Architecture, options: argparse.Namespace) -> dict[str, Any]:
    """Name, sizes at full size, and the scores of each seed; None in the place of what is no number."""
    import torch

    from nasbench.costs.analytic import cost
    from nasbench.proxy.zero_cost import all_scores
    from nasbench.study.runner import load_runner
    from nasbench.study.task import DataSplit, Task

    runner = load_runner(options.runner)
    runner.require_device()
    fidelity, costs = fidelity_at(options.rung, options.runner), cost(arch)
    torch.set_num_threads(runner.threads)
    scores = []
    for seed in range(options.seeds):
        told = all_scores(Task(arch, fidelity, seed, DataSplit(options.data), runner))
        scores.append({"seed": seed, **{name: x if math.isfinite(x) else None for name, x in told.items()}})
    return {"name": arch.label, "id": arch.id, "params": costs.params, "macs": costs.macs, "scores": scores}


def _line(found: dict[str, Any]) -> dict[str, Any]:
    """One line of the table: the mean over seeds, with its deviation where there are several."""
    line = {"network": found["name"], "params M": found["params"] / 1e6, "MACs M": found["macs"] / 1e6}
    for name in found["scores"][0]:
        if name != "seed":
            line[name.replace("_", " ")] = _mean([one[name] for one in found["scores"]])
    return line


def _mean(values: list[float | None]) -> str | None:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    mean = sum(known) / len(known)
    if len(known) == 1:
        return f"{mean:.4g}"
    deviation = math.sqrt(sum((value - mean) ** 2 for value in known) / (len(known) - 1))
    return f"{mean:.4g} ± {deviation:.1g}"
