"""Published networks beside the same ones with another block or other patches: cost, latency, proxy accuracy."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from nasbench.arch.architecture import Architecture
from nasbench.arch.library import load
from nasbench.costs.analytic import cost
from nasbench.errors import UserError
from nasbench.study.fidelity import Fidelity
from nasbench.study.runner import RunnerSpec
from nasbench.study.task import DataSplit, Task

# blocks: EMO's block in place of DeiT's and PVT's (arXiv:2301.01146); patches: MobileViT's 2, 2, 2 against 8, 4, 2
# (arXiv:2110.02178).
TABLES: dict[str, tuple[str, ...]] = {
    "blocks": ("deit_ti", "deit_ti_irmb", "pvt_tiny", "pvt_tiny_irmb"),
    "patches": (
        "mobilevit_xxs", "mobilevit_xxs_842", "mobilevit_xs", "mobilevit_xs_842", "mobilevit_s", "mobilevit_s_842",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Training:
    """How `--train` scores: a fidelity, the runner's settings, and the seeds."""

    fidelity: Fidelity
    runner: RunnerSpec
    seeds: tuple[int, ...] = (0, 1, 2)
    data: DataSplit = field(default_factory=DataSplit)


def swap_table(
    name: str, training: Training | None = None, progress: Callable[[str], None] = lambda text: None
) -> list[dict[str, Any]]:
    """One row a network of this table: analytic cost of the deploy form, its latency measured on this machine, and
    with `training` its proxy accuracy over the seeds (validation split)."""
    from nasbench.latency.tables import measurement_table

    if name not in TABLES:
        raise UserError(f"unknown table {name!r}; there are {', '.join(TABLES)}")
    networks = [load(network) for network in TABLES[name]]
    progress(f"measuring the latency of {len(networks)} networks")
    rows = []
    for arch, measured in zip(networks, measurement_table(networks), strict=True):
        figures = cost(arch)
        row = {
            "network": arch.name,
            "px": arch.resolution,
            "block": ", ".join(dict.fromkeys(stage.block for stage in arch.stages if stage.attends)),
            "params": figures.params,
            "macs": figures.macs,
            "latency_ms": measured["latency_ms"],
        }
        rows.append(row | (_trained(arch, training, progress) if training else {}))
    return rows


def _trained(arch: Architecture, training: Training, progress: Callable[[str], None]) -> dict[str, Any]:
    from nasbench.proxy.evaluate import evaluate

    accuracies = []
    for seed in training.seeds:
        progress(f"training {arch.name}, seed {seed}")
        task = Task(arch, training.fidelity, seed, training.data, training.runner)
        accuracies.append(100 * evaluate(task)["accuracy"])
    return {"accuracy": statistics.mean(accuracies), "deviation": deviation(accuracies), "seeds": len(accuracies)}


def deviation(values: Sequence[float]) -> float:
    """The sample standard deviation; 0 of a single value."""
    return statistics.stdev(values) if len(values) > 1 else 0.0
