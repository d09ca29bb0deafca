"""A table's trainings of published networks, used in place of training them again.

The search trains two of them as a check. Where their accuracies differ from the table's by no more than seed noise, the
table's trainings are used for the other networks; else all are trained, as without a table.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from nasbench.arch.architecture import Architecture
from nasbench.arch.library import named_family
from nasbench.costs.analytic import Cost
from nasbench.study.seed_noise import SeedNoise, pooled
from nasbench.study.study import Study
from nasbench.study.trials import FROM_TABLE, Kind, Level, Origin, Outcome, State, Trial
from nasbench.table.rows import TableRow
from nasbench.table.table import VALIDATION, Table

CHECKED = 2  # networks that are trained again
SIGNIFICANCE = 0.05  # of the check: probability that it rejects a table which is right
METRICS = ("accuracy", "loss", "train_loss_tail", "scored_images", "proxy_id")  # fields of a row that trials have too


class PublishedScores:
    """The trainings in `table` of `published` networks (by id) that differ from a study's own in the seed alone."""

    def __init__(self, study: Study, published: Mapping[str, Architecture], table: Table) -> None:
        self._study = study
        alike = table.where(split=VALIDATION, data_id=study.data_id, numerics=study.runner.numerics.text)
        rows: dict[tuple[str, str], list[TableRow]] = defaultdict(list)
        for row in alike.content:
            rows[(row.architecture_id, row.fidelity)].append(row)
        lowest = study.ladder.rungs[0].fidelity.id
        self._noise = _noise(group for (_, fidelity), group in rows.items() if fidelity == lowest)
        self._rows = {key: group for key, group in rows.items() if key[0] in published}
        told = [arch for key, arch in published.items() if (key, lowest) in self._rows]
        self.checked = self._leaders(told) if self._noise is not None and len(told) > CHECKED else []

    def _leaders(self, told: Sequence[Architecture]) -> list[Architecture]:
        """The most accurate at the lowest rung of different families, best first."""
        leaders: dict[str, Architecture] = {}
        for arch in sorted(told, key=lambda each: -self._mean(each.id)):
            leaders.setdefault(named_family(arch.name or ""), arch)
        return list(leaders.values())[:CHECKED]

    def _mean(self, key: str) -> float:
        return fmean(row.accuracy for row in self._rows[(key, self._study.ladder.rungs[0].fidelity.id)])

    def agree(self, trials: Iterable[Trial]) -> bool | None:
        """Whether the search's own trainings agree with the table; None until they have ended."""
        if not self.checked:
            return False
        own = {t.architecture_id: t for t in trials if t.level == Level(0) and t.trained_here and t.finished}
        if any(arch.id not in own for arch in self.checked):
            return None
        if not all(own[arch.id].complete for arch in self.checked):
            return False
        return self._p_value([own[arch.id] for arch in self.checked]) >= SIGNIFICANCE

    def _p_value(self, own: Sequence[Trial]) -> float:
        """Of the F test that the accuracies differ from the table's means by seed noise alone."""
        from scipy.special import fdtrc

        assert self._noise is not None  # else nothing is checked
        fidelity, squares = self._study.ladder.rungs[0].fidelity.id, 0.0
        for trial in own:
            seeds = len(self._rows[(trial.architecture_id, fidelity)])
            gap = trial.metric("accuracy") - self._mean(trial.architecture_id)
            squares += gap**2 / (max(self._noise.std, 1e-6) ** 2 * (1 + 1 / seeds))
        return float(fdtrc(len(own), self._noise.degrees_of_freedom, squares / len(own)))

    def next(self, waiting: Sequence[Architecture], trials: Sequence[Trial]) -> Architecture | None:
        """The next published network of those `waiting` for the lowest rung; while the check runs, only one that is
        trained whatever its result."""
        if self.agree(trials) is not None:
            return waiting[0]
        checked = {arch.id for arch in self.checked}
        first = [arch for arch in waiting if arch.id in checked]
        return next(iter(first or (arch for arch in waiting if self._typical(arch.id, 0) is None)), None)

    def stand_for(self, arch: Architecture, rung: int, trials: Sequence[Trial]) -> bool:
        """Whether the table's training of a network at a rung is used in place of one of the search."""
        return self._typical(arch.id, rung) is not None and self.agree(trials) is True

    def trial(self, arch: Architecture, rung: int, cost: Cost) -> Trial:
        """A training of the table of a design at a rung, as a trial of the study."""
        row = self._typical(arch.id, rung)
        assert row is not None
        return self._study.trial(arch, row.seed, Origin(Kind.FIXED_POINT, rung, FROM_TABLE, cost))

    def outcome(self, trial: Trial) -> Outcome | None:
        """The outcome of a trial that `trial` gave, from the table; None for every other."""
        rows = [] if trial.trained_here else self._all(trial.architecture_id, trial.origin.rung)
        row = next((row for row in rows if row.seed == trial.seed), None)
        if row is None:
            return None
        metrics = {name: getattr(row, name) for name in METRICS if getattr(row, name) is not None}
        return Outcome(State.COMPLETE, metrics, worker={"machine": row.machine, "finished": row.finished})

    def _all(self, key: str, rung: int) -> list[TableRow]:
        return self._rows.get((key, self._study.ladder.rungs[rung].fidelity.id), [])

    def _typical(self, key: str, rung: int) -> TableRow | None:
        """Of a network's trainings at a rung the one nearest to their mean, so that no seed's luck stands for it."""
        found = self._all(key, rung)
        mean = fmean(row.accuracy for row in found) if found else 0.0
        return min(found, key=lambda row: (abs(row.accuracy - mean), row.seed), default=None)


def _noise(groups: Iterable[Sequence[TableRow]]) -> SeedNoise | None:
    return pooled([row.accuracy for row in group] for group in groups)
