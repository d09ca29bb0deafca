"""The laws of every design of a study with their held-out tests, and what `nasbench scale fit` shows and stores."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nasbench.errors import UserError
from nasbench.files import write_atomic
from nasbench.scaling.heldout import HeldOutSize, hold_out_largest
from nasbench.scaling.intervals import DRAWS, LawFit, analyse
from nasbench.scaling.isoflop import CostModel
from nasbench.scaling.points import JOINT, SIZE, Point, by_family, data_of, most_sampled

FILE = "laws.json"


@dataclass(frozen=True)
class FamilyLaws:
    """One design's trainings and the laws fitted to them; a law is None where there are too few scales for it.

    missing: why laws or held-out tests could not be fitted.
    """

    name: str
    points: tuple[Point, ...]
    size: LawFit | None  # over the design's FLOPs, at the largest sample count that all sizes share
    joint: LawFit | None  # over parameters and samples
    held_out: tuple[HeldOutSize, ...]
    missing: tuple[str, ...]

    @property
    def cost(self) -> CostModel:
        return CostModel.of(self.points)


def fit_families(
    points: Sequence[Point],
    loss: str = "error",
    draws: int = DRAWS,
    forms: Sequence[tuple[str, ...]] = (SIZE, JOINT),
    hold_out: bool = True,
) -> list[FamilyLaws]:
    """Laws of every design in `points`, each over the variables of each of `forms`.

    Designs without enough scales are left out; UserError where that is all of them.
    """
    found = [_fit_family(name, group, loss, draws, forms, hold_out) for name, group in by_family(points).items()]
    if not any(laws.size or laws.joint for laws in found):
        reasons = sorted({reason for laws in found for reason in laws.missing})
        raise UserError(f"none of {len(found)} designs can be fitted: {reasons[0]}")
    return [laws for laws in found if laws.size or laws.joint]


def _fit_family(
    name: str, points: list[Point], loss: str, draws: int, forms: Sequence[tuple[str, ...]], hold_out: bool
) -> FamilyLaws:
    fits: dict[tuple[str, ...], LawFit] = {}
    held: list[HeldOutSize] = []
    missing = []
    for variables in forms:
        used = most_sampled(points) if variables == SIZE else points
        try:
            fits[variables] = analyse(data_of(used, variables, loss), draws, name=name)
        except UserError as error:
            missing.append(str(error))
            continue
        if not hold_out:
            continue
        try:
            held += hold_out_largest(points, variables, loss, draws)
        except UserError as error:
            missing.append(f"without the largest size: {error}")
    return FamilyLaws(name, tuple(points), fits.get(SIZE), fits.get(JOINT), tuple(held), tuple(missing))


def law_rows(laws: FamilyLaws) -> list[dict[str, str]]:
    """One row for each variable of each law: its parameters with their 90 % bootstrap intervals."""
    rows = []
    for fit in (laws.size, laws.joint):
        if fit is None:
            continue
        for index, variable in enumerate(fit.law.variables):
            rows.append(
                {
                    "design": laws.name if index == 0 else "",
                    "over": variable,
                    "E": _with_interval(fit.law.floor, fit.interval("E")) if index == 0 else "",
                    "A at the middle": _with_interval(fit.law.amplitudes[index], fit.interval(f"A:{variable}")),
                    "exponent": _with_interval(fit.law.exponents[index], fit.interval(f"alpha:{variable}")),
                    "by likelihood": "{:.2f} to {:.2f}".format(*fit.profile[index]),
                    "seeds ±": f"{fit.noise.seed:.1%}" if index == 0 else "",
                    "identified": "no" if variable in fit.unidentified else "yes",
                }
            )
    return rows


def warnings(laws: FamilyLaws) -> list[str]:
    """What is wrong with each law, one line each, with the design's name."""
    lines = []
    for fit in (laws.size, laws.joint):
        if fit is not None:
            lines += [f"{laws.name} over {' and '.join(fit.law.variables)}: {text}" for text in fit.warnings]
    return lines + [f"{laws.name}: {text}" for text in laws.missing]


def _with_interval(value: float, interval: tuple[float, float]) -> str:
    return f"{value:.3f} [{interval[0]:.3f}, {interval[1]:.3f}]"


def fit_record(fit: LawFit) -> dict[str, Any]:
    """A law as plain values: its parameters with their intervals, the noise and the warnings."""
    variables = fit.law.variables
    return {
        "variables": list(variables),
        "E": fit.law.floor,
        "A": dict(zip(variables, map(float, fit.law.amplitudes))),
        "reference": dict(zip(variables, map(float, fit.law.reference))),
        "alpha": dict(zip(variables, map(float, fit.law.exponents))),
        "E_90": list(fit.interval("E")),
        "A_90": {name: list(fit.interval(f"A:{name}")) for name in variables},
        "alpha_90": {name: list(fit.interval(f"alpha:{name}")) for name in variables},
        "alpha_profile_90": {name: list(ends) for name, ends in zip(variables, fit.profile)},
        "noise_ln": {"seeds": fit.noise.seed, "scales": fit.noise.scale},
        "trainings": len(fit.data.y),
        "unidentified": list(fit.unidentified),
        "warnings": list(fit.warnings),
        "kind": "fitted to measured errors",
    }


def record(laws: Sequence[FamilyLaws]) -> dict[str, Any]:
    """All laws and held-out tests as JSON values."""
    return {
        entry.name: {
            "size": None if entry.size is None else fit_record(entry.size),
            "joint": None if entry.joint is None else fit_record(entry.joint),
            "held_out": [_held_record(held) for held in entry.held_out],
            "missing": list(entry.missing),
            **({"error_is": "1 - balanced accuracy"} if any(point.balanced for point in entry.points) else {}),
        }
        for entry in laws
    }


def _held_record(held: HeldOutSize) -> dict[str, Any]:
    return {
        "over": list(held.variables),
        "design": held.design,
        "samples": held.samples,
        "seeds": held.seeds,
        "measured": held.measured,
        "predicted": held.predicted,
        "low_90": held.low,
        "high_90": held.high,
        "inside": held.inside,
        "identified": held.fit.identified,
    }


def write_record(content: Mapping[str, Any], folder: Path) -> Path:
    path = folder / FILE
    write_atomic(path, json.dumps(content, indent=1, allow_nan=False) + "\n")
    return path


def means(points: Sequence[Point], loss: str = "error") -> tuple[np.ndarray, np.ndarray]:
    """FLOPs (n,) and mean over seeds (n,) of each size, smallest first."""
    sizes = sorted({point.flops for point in points})
    averages = [np.mean([getattr(p, loss) for p in points if p.flops == size]) for size in sizes]
    return np.array(sizes), np.array(averages)
