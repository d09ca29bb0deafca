"""Results of several trainings under one recipe: a table over seeds, and their curves."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from nasbench.costs.analytic import cost
from nasbench.files import write_atomic
from nasbench.study.objective import MASKED
from nasbench.training.job import BEST, EPOCHS, TrainingJob

TABLE, CURVES = "training.csv", "curves.csv"  # one line a network; one line an epoch of each training


class Finished(NamedTuple):
    """A training that has ended, with its figures."""

    job: TrainingJob
    metrics: Mapping[str, Any]

    @property
    def model(self) -> Path:
        """The file of the best weights, relative to the folder of all trainings."""
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
    def masked(self) -> bool:
        """Whether they are masked image modelling, which is not scored on test images."""
        return self.trainings[0].job.masked

    @property
    def figure(self) -> str:
        """The figure by which networks are compared."""
        return "validation_masked_r2" if self.masked else "test_accuracy"

    @property
    def noun(self) -> str:
        """The words for that figure."""
        if self.masked:
            return MASKED.noun
        balanced = any(each.metrics["accuracy_is"] == "balanced" for each in self.trainings)
        return "balanced accuracy" if balanced else "accuracy"

    def rows(self) -> list[dict[str, Any]]:
        """One record a network, the best first; accuracies in 0 to 1 are measured, costs analytic."""
        rows = [self._row(name, trainings) for name, trainings in self.by_network.items()]
        return sorted(rows, key=lambda row: -row[f"{self.figure}_mean"])

    def _row(self, name: str, trainings: Sequence[Finished]) -> dict[str, Any]:
        arch = trainings[0].job.architecture
        figures, found = cost(arch, max(1, self.classes)), [each.metrics[self.figure] for each in trainings]
        more = {} if self.masked else {
            "validation_accuracy_mean": statistics.fmean(each.metrics["validation_accuracy"] for each in trainings)
        }  # fmt: skip
        return {
            "network": name,
            "resolution": arch.resolution,
            "params_deploy": figures.params,
            "macs_deploy": figures.macs,
            "seeds": len(found),
            f"{self.figure}_mean": statistics.fmean(found),
            f"{self.figure}_std": statistics.stdev(found) if len(found) > 1 else None,
            f"{self.figure}_min": min(found),
            f"{self.figure}_max": max(found),
            **more,
            "epochs": max(each.metrics["epochs"] for each in trainings),
            "seconds": round(sum(each.metrics["seconds"] for each in trainings), 1),
            "accuracy_is": trainings[0].metrics.get("accuracy_is", trainings[0].job.figure),
            "best_model": str(max(trainings, key=_validated).model),
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
        title, column = f"{self.data}, recipe {self.recipe}", f"validation_{self.trainings[0].job.figure}"
        write_picture(self.curves(), title, self.noun, folder / "curves", column)


def _validated(training: Finished) -> float:
    """Its score on the validation images."""
    return float(training.metrics[f"validation_{training.job.figure}"])
