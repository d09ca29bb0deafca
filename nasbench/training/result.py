"""What several trainings under one recipe reached, side by side: a table with the spread, and their curves."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from nasbench.costs.analytic import cost
from nasbench.files import write_atomic
from nasbench.training.job import BEST, EPOCHS, TrainingJob

TABLE, CURVES = "training.csv", "curves.csv"  # one line a network; one line an epoch of each training


class Finished(NamedTuple):
    """A training that has ended, with its figures."""

    job: TrainingJob
    metrics: Mapping[str, Any]

    @property
    def model(self) -> Path:
        """The file of the weights that scored best, from the folder of all trainings on."""
        return Path(self.job.folder.name) / BEST


@dataclass(frozen=True)
class Comparison:
    """Trainings of one or more networks, each with one or more seeds; `classes` of the data, named `data`."""

    trainings: tuple[Finished, ...]
    data: str
    classes: int
    recipe: str

    @property
    def by_network(self) -> dict[str, list[Finished]]:
        found: dict[str, list[Finished]] = {}
        for each in self.trainings:
            found.setdefault(each.job.architecture.label, []).append(each)
        return found

    @property
    def noun(self) -> str:
        """What the accuracies are called."""
        balanced = any(each.metrics["accuracy_is"] == "balanced" for each in self.trainings)
        return "balanced accuracy" if balanced else "accuracy"

    def rows(self) -> list[dict[str, Any]]:
        """One record a network, the most accurate first; accuracies in 0 to 1 are measured, costs analytic."""
        rows = [self._row(name, trainings) for name, trainings in self.by_network.items()]
        return sorted(rows, key=lambda row: -row["test_accuracy_mean"])

    def _row(self, name: str, trainings: Sequence[Finished]) -> dict[str, Any]:
        arch = trainings[0].job.architecture
        figures, tested = cost(arch, self.classes), [each.metrics["test_accuracy"] for each in trainings]
        return {
            "network": name,
            "resolution": arch.resolution,
            "params_deploy": figures.params,
            "macs_deploy": figures.macs,
            "seeds": len(tested),
            "test_accuracy_mean": statistics.fmean(tested),
            "test_accuracy_std": statistics.stdev(tested) if len(tested) > 1 else None,
            "test_accuracy_min": min(tested),
            "test_accuracy_max": max(tested),
            "validation_accuracy_mean": statistics.fmean(each.metrics["validation_accuracy"] for each in trainings),
            "epochs": max(each.metrics["epochs"] for each in trainings),
            "seconds": round(sum(each.metrics["seconds"] for each in trainings), 1),
            "accuracy_is": trainings[0].metrics["accuracy_is"],
            "best_model": str(max(trainings, key=lambda each: each.metrics["validation_accuracy"]).model),
        }

    def curves(self) -> pd.DataFrame:
        """The epochs of all trainings, one below the other."""
        frames = []
        for each in self.trainings:
            frame = pd.read_csv(each.job.folder / EPOCHS)
            frame.insert(0, "seed", each.job.seed)
            frame.insert(0, "network", each.job.architecture.label)
            frames.append(frame)
        return pd.concat(frames, ignore_index=True)

    def write(self, folder: Path) -> None:
        """training.csv, curves.csv, curves.png, .svg and .pdf into `folder`."""
        from nasbench.training.picture import write_picture

        for name, frame in ((TABLE, pd.DataFrame(self.rows())), (CURVES, self.curves())):
            write_atomic(folder / name, frame.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
        write_picture(self.curves(), f"{self.data}, recipe {self.recipe}", self.noun, folder / "curves")
