"""The trained points that laws are fitted to, read from the folders of studies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nasbench.errors import UserError
from nasbench.scaling.laws import Data
from nasbench.study.fidelity import recipe_name
from nasbench.study.store import FILE, TrialStore
from nasbench.study.trials import Trial

SIZE, JOINT = ("flops",), ("params", "samples")  # the variables of a law over size, and of one over size and images
FORWARD_AND_BACKWARD = 3  # a training step costs about three forward passes: arXiv:2001.08361, section 2.1
VARIABLES = {
    "flops": "multiply-adds of the design",
    "params": "parameters of the trained network",
    "samples": "images seen",
    "compute": "multiply-adds of the training",
}
ENOUGH_SEEDS = 3  # more do not make a sample count preferable
LOSSES = ("error", "loss")
BALANCED_ERROR = "error (1 - balanced accuracy)"


@dataclass(frozen=True)
class Point:
    """One training. `flops` are the design's own (deploy form), `params` and `compute` (multiply-adds of the whole
    training) those of the network that the proxy trained."""

    family: str
    design: str
    flops: float
    params: float
    samples: float
    compute: float
    error: float
    loss: float
    seed: int
    seconds: float  # that the device was busy: of the CPU, or by the clock on an accelerator
    device: str = "CPU"
    balanced: bool = False  # error is 1 - balanced accuracy


def read_points(folders: Sequence[Path | str]) -> list[Point]:
    """Every complete training in the studies' folders that was scored on one split, validation where there is one.

    UserError where there is none, or where trainings differ in data, recipe or kind of accuracy: their errors cannot be
    compared.
    """
    trials: list[Trial] = []
    for folder in folders:
        if not (Path(folder) / FILE).is_file():
            raise UserError(f"{folder}: holds no {FILE}; give the folder of a study (`nasbench scale train` makes one)")
        with TrialStore(folder, read_only=True) as store:
            trials += [trial for trial in store.trials if _is_point(trial, store)]
    if not trials:
        raise UserError(f"{', '.join(map(str, folders))}: no complete training yet; let the study go on")
    if len({trial.data for trial in trials}) > 1:
        raise UserError("the studies were trained on different data, whose errors cannot be compared; fit them apart")
    split = "validation" if any(trial.split == "validation" for trial in trials) else "test"
    chosen = [trial for trial in trials if trial.split == split]
    _require_one_recipe(chosen)
    if len({trial.balanced for trial in chosen}) > 1:
        raise UserError("trainings scored by plain and by balanced accuracy cannot be compared; fit the studies apart")
    return [point_of(trial) for trial in chosen]


def _is_point(trial: Trial, store: TrialStore) -> bool:
    """Whether a trial is a complete training with possible figures; one with impossible ones causes a warning.

    Trainings taken from a table are left out: tables do not hold the size of the reduced network.
    """
    if not (trial.complete and trial.trained_here):
        return False
    try:
        point = point_of(trial)
        figures = [point.flops, point.params, point.compute, point.loss, point.seconds]
        sound = min(figures) > 0 and trial.metric("accuracy") <= 1
        problem = "" if sound else "an accuracy beyond 1, or a figure that is not above 0"
    except KeyError as error:
        problem = f"its outcome has no {error}"
    except (TypeError, ValueError) as error:
        problem = str(error)
    if problem:
        store.pass_over(trial, problem)
    return not problem


def _require_one_recipe(trials: Sequence[Trial]) -> None:
    """Raise UserError where trainings differ in more than their length and how many images were scored."""
    scored_alike = {"evaluate": 2}
    names = {trial.fidelity.recipe.model_copy(update=scored_alike): recipe_name(trial.fidelity) for trial in trials}
    if len(names) > 1:
        raise UserError(
            f"trainings by different recipes, whose errors cannot be compared: {'; '.join(sorted(names.values()))}; "
            "fit the studies apart"
        )


def point_of(trial: Trial) -> Point:
    """A complete training as a point; KeyError, TypeError or ValueError where its outcome lacks a figure."""
    gpu = trial.worker.get("gpu")
    samples = float(trial.metrics.get("samples", trial.fidelity.samples))
    seconds = "train_seconds" if gpu else "cpu_seconds"
    return Point(
        family=trial.origin.family or trial.label,
        design=trial.label,
        flops=float(trial.origin.cost.flops) if trial.origin.cost else trial.metric("proxy_flops"),
        params=trial.metric("proxy_params"),
        samples=float(trial.fidelity.samples),
        compute=FORWARD_AND_BACKWARD * trial.metric("proxy_macs") * samples,
        error=max(1e-6, 1 - trial.metric("accuracy")),
        loss=trial.metric("loss"),
        seed=trial.seed,
        seconds=trial.metric(seconds) if seconds in trial.metrics else trial.seconds,
        device=str(gpu or "CPU"),
        balanced=trial.balanced,
    )


def loss_name(points: Iterable[Point], loss: str = "error") -> str:
    """The name of `loss` in texts: where classes are uneven the error is 1 - balanced accuracy."""
    return BALANCED_ERROR if loss == "error" and any(point.balanced for point in points) else loss


def by_family(points: Iterable[Point]) -> dict[str, list[Point]]:
    found: dict[str, list[Point]] = {}
    for point in points:
        found.setdefault(point.family, []).append(point)
    return found


def data_of(points: Sequence[Point], variables: Sequence[str], loss: str = "error") -> Data:
    """The data of a law in `variables`; UserError for an unknown variable or loss."""
    for name in variables:
        if name not in VARIABLES:
            raise UserError(f"unknown variable {name!r}; known: {', '.join(VARIABLES)}")
    if loss not in LOSSES:
        raise UserError(f"unknown loss {loss!r}; known: {', '.join(LOSSES)}")
    table = [[getattr(point, name) for name in variables] for point in points]
    return Data.of(variables, table, [getattr(point, loss) for point in points])


def most_sampled(points: Sequence[Point]) -> list[Point]:
    """The points at one sample count, for a law over size alone; all points where no count was used at every size.

    The count at which every size has most seeds, ENOUGH_SEEDS counting as most; among equals the largest.
    """
    sizes = {point.flops for point in points}

    def rank(count: float) -> tuple[int, float]:
        seeds = min(sum(p.samples == count and p.flops == size for p in points) for size in sizes)
        return min(seeds, ENOUGH_SEEDS), count

    best = max({point.samples for point in points}, key=rank)
    return [point for point in points if point.samples == best] if rank(best)[0] else list(points)


def largest(points: Sequence[Point]) -> float:
    """FLOPs of the largest design."""
    return max(point.flops for point in points)


def summary(points: Sequence[Point], loss: str = "error") -> list[dict[str, Any]]:
    """Mean and standard deviation over seeds of each design at each sample count."""
    cells: dict[tuple[str, float], list[Point]] = {}
    for point in points:
        cells.setdefault((point.design, point.samples), []).append(point)
    rows = []
    for (design, samples), group in sorted(cells.items(), key=lambda item: (item[0][1], item[1][0].flops)):
        values = np.array([getattr(point, loss) for point in group])
        rows.append(
            {
                "design": design,
                "FLOPs M": round(group[0].flops / 1e6),
                "samples": int(samples),
                "seeds": len(group),
                f"{loss_name(group, loss)} (measured)": float(values.mean()),
                "std": float(values.std(ddof=1)) if len(group) > 1 else None,
                "seconds": float(np.mean([point.seconds for point in group])),
            }
        )
    return rows
