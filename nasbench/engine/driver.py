"""What a search does next: the source of jobs that a runner works through.

Every decision is read off the store's trials, so that resuming is to read them again. First `trials` designs are
trained at the lowest rung, proposed by the strategy; then each higher rung takes the best of the one below; at last
the finalists are trained at the highest rung with fresh seeds and scored on the test split, which nothing before saw.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nasbench.arch.architecture import Architecture
from nasbench.engine.outlook import Outlook
from nasbench.engine.promotion import selected, useful
from nasbench.latency.profile import DeviceProfile
from nasbench.progress import Progress
from nasbench.report.results import Level, StudyResult, architecture_of, binding, level, predictions
from nasbench.report.rows import FIXED_POINT, SEARCHED
from nasbench.running import Job, Outcome
from nasbench.scaling.objective import Reach, errors_at, next_probe
from nasbench.space import RejectionCounter, SearchSpace
from nasbench.space.limits import Limits
from nasbench.strategies import Candidate, Context, StrategyChoice
from nasbench.study.fidelity import Ladder
from nasbench.study.runner import RunnerSpec
from nasbench.study.study import Study
from nasbench.study.trials import Trial, TrialStore

PROMOTION_NOTE = "promotion"  # the store's notes of who went on to a level, and from how many complete trials
EVALUATE = "nasbench.proxy.evaluate:evaluate"
FIRST_FRONT = 8  # complete trials at which a first front is worth a look
Profile = Callable[[], DeviceProfile | None]


class Driver:
    """Implements `running.JobSource` for one study. `profile` gives the device profile once it is there."""

    def __init__(
        self,
        study: Study,
        store: TrialStore,
        space: SearchSpace,
        fixed: dict[str, Architecture],
        profile: Profile,
        progress: Progress,
        deadline: float = math.inf,
    ) -> None:
        self.study, self.store, self.space, self.fixed = study, store, space, fixed
        self.profile, self.progress, self.deadline = profile, progress, deadline
        self.ladder = Ladder.from_list(study.ladder)
        self.runner = RunnerSpec.from_dict(study.runner)
        self.strategy = StrategyChoice.from_dict(study.strategy, "strategy")
        self.reach = Reach.of(study.objectives)  # where errors are extrapolated to, if they are
        self.rejections = RejectionCounter()
        self.unfinished = list(store.outstanding())  # of a driver that was killed
        self.running: set[str] = set()
        self.at_a_time = 0  # most trials that ran together so far
        self.space_is_empty = False
        self.reported: set[Any] = set()
        self.started = time.monotonic()
        known = StudyResult.from_store(study, store).with_measurements(profile())
        self.measured_ms = known.measured_ms  # architecture id -> latency
        self._predicted: dict[str, dict[str, Any]] = {}
        self._predictor: DeviceProfile | None = None  # whose predictions these are
        self._turned_away: dict[str, Architecture] = {}  # for the width of their interval alone
        self._limit_ms = min((b.limit for b in study.parsed_budgets if b.metric == "latency_ms"), default=math.inf)
        self._decisions = {(note["level"], note["of"]): note["chosen"] for note in store.notes(PROMOTION_NOTE)}
        self._architectures: dict[str, Architecture] = {}
        self._costs: dict[str, dict[str, int]] = {}

    # --- the runner's side

    def ask(self) -> Job | None:
        trial = self._next_trial() if time.monotonic() < self.deadline else None
        if trial is None:
            self._show()
            return None
        self.store.submit(trial)
        self.running.add(trial.key)
        self.at_a_time = max(self.at_a_time, len(self.running))
        self._show()
        return Job(trial.key, self._task(trial), self.study.trial_limit_s)

    def tell(self, job: Job, outcome: Outcome) -> None:
        trial = self.store.finish(job.id, outcome)
        self.running.discard(job.id)
        if trial.state == "failed":
            name = trial.architecture.get("name") or trial.architecture_id[:8]
            self.progress.note(f"trial {trial.key[:8]} of {name} failed: {trial.reason}")
        self._report_when_due()

    def _task(self, trial: Trial) -> dict[str, Any]:
        return {
            "architecture": trial.architecture,
            "fidelity": trial.fidelity,
            "seed": trial.seed,
            "data": self.study.data,
            "data_seed": self.study.data_seed,
            "split": trial.split,
            "accelerator": self.runner.device,
            "precision": self.runner.precision,
            "channels_last": self.runner.channels_last,
            "objective": self.study.objective.name,
        }

    # --- what comes next

    def _next_trial(self) -> Trial | None:
        if self.unfinished:
            return self.unfinished.pop(0)
        probe = self._next_probe()
        if probe is not None:
            return probe
        if self._wants_proposals():
            proposed = self._proposal()
            if proposed is not None:
                return proposed
        for rung in range(1, len(self.ladder.rungs)):
            if self._pending((rung - 1, False)):
                return None
            for arch in self._promoted(rung):
                trial = self._trial(arch, rung, self.study.seed, "promoted")
                if self.store.get(trial.key) is None:
                    return trial
        if self._pending((self._top, False)):
            return None
        return next((trial for trial in self._final_trials() if self.store.get(trial.key) is None), None)

    def _next_probe(self) -> Trial | None:
        """A smaller version of a trained design, where designs are compared by extrapolation."""
        if self.reach is None:
            return None
        fidelity, keys = self.ladder.rungs[0].fidelity.to_dict(), [trial.key for trial in self.store.trials]
        return next_probe(self._at((0, False)), keys, fidelity, self.study.seed, self.study.classes)

    @property
    def _top(self) -> int:
        return len(self.ladder.rungs) - 1

    def _at(self, at: Level) -> list[Trial]:
        return [trial for trial in self.store.trials if level(trial) == at]

    def _complete_at(self, at: Level) -> list[Trial]:
        return [trial for trial in self._at(at) if trial.state == "complete"]

    def _pending(self, at: Level) -> bool:
        return any(trial.state == "submitted" for trial in self._at(at))

    def _wants_proposals(self) -> bool:
        return not self.space_is_empty and len(self._at((0, False))) < self.study.trials

    def _trial(self, arch: Architecture, rung: int, seed: int, how: str, split: str = "validation") -> Trial:
        kind = FIXED_POINT if arch.id in self.fixed else SEARCHED
        named = self.fixed.get(arch.id, arch)
        return Trial.new(
            named.to_dict(),
            arch.id,
            fidelity=self.ladder.rungs[rung].fidelity.to_dict(),
            seed=seed,
            data=self.study.data_id or self.study.data,
            split=split,
            origin={"rung": rung, "how": how, "kind": kind, "cost": self._cost(arch)},
        )

    def _proposal(self) -> Trial | None:
        """The next new design: first the fixed points that fit, at most half of all trials, then the strategy's."""
        known = {trial.architecture_id for trial in self._at((0, False))}
        for arch in list(self.fixed.values())[: max(1, self.study.trials // 2)]:
            if arch.id not in known:
                return self._trial(arch, 0, self.study.seed, "fixed point")
        rng = np.random.default_rng((self.study.seed, len(known)))
        proposals = self.strategy.propose(self._context(rng), 1)
        self.space_is_empty = not proposals
        return self._trial(proposals[0], 0, self.study.seed, self.strategy.name) if proposals else None

    def _context(self, rng: np.random.Generator) -> Context:
        """What the strategy is told."""
        predict = self._bounds if self.profile() is not None else None
        limits = Limits(self.study.parsed_budgets, self.study.classes, predict)
        return Context(self.space, tuple(self._candidates()), rng, limits, self._speed, self.rejections)

    def _candidates(self) -> list[Candidate]:
        """The lowest rung's trials as the strategy sees them; failed and running ones have no losses."""
        trials = self._at((0, False))
        complete = [trial for trial in trials if trial.state == "complete"]
        losses, parents = self._losses(complete), {trial.key for trial in useful(complete, self._scores(complete))}
        return [Candidate(self._architecture(trial), losses.get(trial.key), trial.key in parents) for trial in trials]

    def _prediction(self, arch: Architecture) -> dict[str, Any]:
        profile = self.profile()
        assert profile is not None
        if profile is not self._predictor:  # it has been fitted again
            self._predicted, self._predictor = {}, profile
        if arch.id not in self._predicted:
            self._predicted |= predictions(profile, [arch], self.study)
        return self._predicted[arch.id]

    def _latency(self, arch: Architecture) -> float:
        """Milliseconds: measured where they were, else predicted."""
        return self.measured_ms.get(arch.id) or self._prediction(arch)["latency_ms"]

    def _bounds(self, arch: Architecture) -> dict[str, float]:
        """What budgets on the device bind on: the measured latency, else the upper ends of the predicted intervals."""
        predicted = self._prediction(arch)
        bounds = binding(predicted)
        if arch.id in self.measured_ms:
            return bounds | {"latency_ms": self.measured_ms[arch.id]}
        if predicted["latency_ms"] <= self._limit_ms < bounds["latency_ms"]:
            self._turned_away[arch.id] = arch
        return bounds

    def _architecture(self, trial: Trial) -> Architecture:
        if trial.architecture_id not in self._architectures:
            self._architectures[trial.architecture_id] = architecture_of(trial)
        return self._architectures[trial.architecture_id]

    def _speed(self, arch: Architecture) -> float:
        """Predicted latency; until the device profile is there, multiply-adds stand in for it."""
        return self._latency(arch) if self.profile() is not None else float(self._cost(arch)["macs"])

    def _cost(self, arch: Architecture) -> dict[str, int]:
        """Of the deploy form. It is stored with the trial, so that reading a study needs no torch."""
        from nasbench.costs.analytic import cost

        if arch.id not in self._costs:
            self._costs[arch.id] = cost(arch, self.study.classes).to_dict()
        return self._costs[arch.id]

    def _losses(self, trials: Sequence[Trial]) -> dict[str, tuple[float, float]]:
        """Key -> (error, speed) of complete trials; the error is that at the target, where one is asked for."""
        if self.reach is not None:
            errors = errors_at(self.store.trials, trials, self.reach)
            return {t.key: (errors[t.key], self._speed(self._architecture(t))) for t in trials}
        scores = self._scores(trials)
        return {t.key: (1 - scores[t.key], self._speed(self._architecture(t))) for t in trials}

    def _scores(self, trials: Sequence[Trial]) -> dict[str, float]:
        """Key -> accuracy, or what the objective has in its place; at most 1, higher is better."""
        return {trial.key: float(trial.metrics[self.study.objective.metric]) for trial in trials}

    # --- promotion

    def _promoted(self, rung: int) -> list[Architecture]:
        """Who trains at `rung`: the best by `selected` of the rung below."""
        below = self._complete_at((rung - 1, False))
        places = min(self.ladder.rungs[rung].trials, max(2, math.ceil(len(below) / 2)))
        return self._decided(f"rung {rung}", below, places)

    def _final_trials(self) -> list[Trial]:
        finalists = self._decided("final", self._complete_at((self._top, False)), self.study.finalists)
        return [
            self._trial(arch, self._top, seed, "final", split="test")
            for seed in self.study.final_seeds
            for arch in finalists
        ]

    def _decided(self, name: str, trials: Sequence[Trial], places: int) -> list[Architecture]:
        """`selected`, once for as many trials: the store keeps who it was, since latencies become known meanwhile."""
        key = (name, len(trials))
        if key not in self._decisions:
            chosen = [trial.key for trial in self._ranked(trials, places)]
            self.store.note(PROMOTION_NOTE, {"level": name, "of": len(trials), "chosen": chosen})
            self._decisions[key] = chosen
        by_key = {trial.key: trial for trial in trials}
        return [self._architecture(by_key[key]) for key in self._decisions[key]]

    def _ranked(self, trials: Sequence[Trial], places: int) -> list[Trial]:
        return selected(trials, self._losses(trials), self._scores(trials), places)

    # --- what is worth measuring

    def contenders(self, count: int) -> list[Architecture]:
        """Up to `count` of the 2 x `count` most promising designs of the highest rung with a complete trial: those not
        yet measured."""
        rung = max((rung for rung in range(len(self.ladder.rungs)) if self._complete_at((rung, False))), default=0)
        ordered = self._ranked(self._complete_at((rung, False)), 2 * count)
        designs = [self._architecture(trial) for trial in ordered]
        return [design for design in designs if design.id not in self.measured_ms][:count]

    def turned_away(self, count: int) -> list[Architecture]:
        """The latest designs that a budget in milliseconds rejected for the width of their interval alone."""
        designs = [design for design in self._turned_away.values() if design.id not in self.measured_ms]
        return designs[-count:]

    def complete_at_lowest(self) -> int:
        """How many trials of the lowest rung are complete."""
        return len(self._complete_at((0, False)))

    def complete_levels(self) -> list[int]:
        """The rungs whose trials, the final ones apart, have all ended."""
        rungs = range(len(self.ladder.rungs))
        done = [r for r in rungs if self._at((r, False)) and not self._pending((r, False))]
        return [rung for rung in done if not self._growing((rung, False))]

    # --- what the user sees

    def _report_when_due(self) -> None:
        """Write the front after the first few trials, and whenever a level is complete."""
        if self.profile() is None:
            return
        complete = [trial for trial in self.store.trials if trial.state == "complete"]
        due: set[Any] = {"first"} if len(complete) >= min(FIRST_FRONT, self.study.trials) else set()
        due |= {at for at in {level(trial) for trial in complete} if not self._pending(at) and not self._growing(at)}
        if due - self.reported:
            self.reported |= due
            result = self.result()
            members = sum(row.on_front for row in result.report())
            self.progress.note(
                f"front of {members} designs written to {result.folder} after {self.seconds_spent():.0f} s"
            )

    def _growing(self, at: Level) -> bool:
        return at == (0, False) and self._wants_proposals()

    def result(self) -> StudyResult:
        stored, profile = StudyResult.from_store(self.study, self.store), self.profile()
        return stored.with_measurements(profile).with_predictions(profile)

    def seconds_spent(self) -> float:
        return time.monotonic() - self.started

    def _show(self) -> None:
        self.progress.update(
            Outlook(self.study, self.ladder, self.store).state(
                running=len(self.running),
                at_a_time=self.at_a_time,
                seconds_spent=self.seconds_spent(),
                rejected=dict(self.rejections.rejected),
            )
        )
