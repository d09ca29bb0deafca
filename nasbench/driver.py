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

from nasbench.architecture import Architecture
from nasbench.latency.profile import DeviceProfile
from nasbench.pareto import best_first
from nasbench.proxy.fidelity import Ladder
from nasbench.report.progress import Progress, ProgressState
from nasbench.report.rows import FIXED_POINT, SEARCHED
from nasbench.result import Level, StudyResult, architecture_of, binding, level, mean_seconds, predictions
from nasbench.running import Job, Outcome
from nasbench.running.spec import RunnerSpec
from nasbench.scaling.objective import PROBE_RUNG, PROBE_SHARES, Reach, errors_at, next_probe
from nasbench.space import RejectionCounter, SearchSpace
from nasbench.strategies import STRATEGIES, Candidate
from nasbench.study import Study
from nasbench.trials import Trial, TrialStore

PROMOTION_NOTE = "promotion"  # the store's notes of who went on to a level, and from how many complete trials
EVALUATE = "nasbench.proxy.evaluate:evaluate"
FIRST_FRONT = 8  # complete trials at which a first front is worth a look
FIXED_SHARE = 0.45  # of a rung's places that fixed points take at most: of seven, one for each of three families
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
        self.reach = Reach.of(study.objectives)  # where errors are extrapolated to, if they are
        self.rejections = RejectionCounter()
        self.unfinished = list(store.outstanding())  # of a driver that was killed
        self.running: set[str] = set()
        self.at_a_time = 0  # most trials that ran together so far
        self.space_is_empty = False
        self.reported: set[Any] = set()
        self.started = time.monotonic()
        self.measured_ms = StudyResult.from_store(study, store).measured_ms  # architecture id -> latency
        self._predicted: dict[str, dict[str, Any]] = {}
        self._predictor: DeviceProfile | None = None  # whose predictions these are
        self._turned_away: dict[str, Architecture] = {}
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
        name = self.study.strategy["name"]
        proposals = STRATEGIES[name](self.space, self._candidates(), rng, 1, **self._settings())
        self.space_is_empty = not proposals
        return self._trial(proposals[0], 0, self.study.seed, name) if proposals else None

    def _settings(self) -> dict[str, Any]:
        return {
            "budgets": self.study.parsed_budgets,
            "num_classes": self.study.classes,
            "predict": self._bounds if self.profile() is not None else None,
            "counter": self.rejections,
            "speed": self._speed,
            **{key: value for key, value in self.study.strategy.items() if key != "name"},
        }

    def _candidates(self) -> list[Candidate]:
        """The lowest rung's trials as the strategy sees them; failed and running ones have no losses."""
        trials = self._at((0, False))
        complete = [trial for trial in trials if trial.state == "complete"]
        losses, parents = self._losses(complete), {trial.key for trial in self._useful(complete)}
        return [Candidate(self._architecture(trial), losses.get(trial.key), trial.key in parents) for trial in trials]

    def _prediction(self, arch: Architecture) -> dict[str, Any]:
        profile = self.profile()
        assert profile is not None
        if arch.id not in self._predicted:
            self._predicted |= predictions(profile, [arch], self.study.classes)
        return self._predicted[arch.id]

    def _latency(self, arch: Architecture) -> float:
        """Predicted milliseconds."""
        return self._prediction(arch)["latency_ms"]

    def _bounds(self, arch: Architecture) -> dict[str, float]:
        """Upper ends of the predicted intervals: what budgets on the device bind on."""
        return binding(self._prediction(arch))

    def _architecture(self, trial: Trial) -> Architecture:
        if trial.architecture_id not in self._architectures:
            self._architectures[trial.architecture_id] = architecture_of(trial)
        return self._architectures[trial.architecture_id]

    def _speed(self, arch: Architecture) -> float:
        """Predicted latency; until the device profile is there, multiply-adds stand in for it."""
        return self._latency(arch) if self.profile() is not None else float(self._cost(arch)["macs"])

    def _cost(self, arch: Architecture) -> dict[str, int]:
        """Of the deploy form. It is stored with the trial, so that reading a study needs no torch."""
        from nasbench.cost import cost

        if arch.id not in self._costs:
            self._costs[arch.id] = cost(arch, self.study.classes).to_dict()
        return self._costs[arch.id]

    def _losses(self, trials: Sequence[Trial]) -> dict[str, tuple[float, float]]:
        """Key -> (error, speed) of complete trials; the error is that at the target, where one is asked for."""
        if self.reach is not None:
            errors = errors_at(self.store.trials, trials, self.reach)
            return {t.key: (errors[t.key], self._speed(self._architecture(t))) for t in trials}
        return {t.key: (1 - self._score(t), self._speed(self._architecture(t))) for t in trials}

    def _score(self, trial: Trial) -> float:
        """Accuracy, or what the objective has in its place; at most 1, higher is better."""
        return float(trial.metrics[self.study.objective.metric])

    def _useful(self, trials: Sequence[Trial]) -> list[Trial]:
        """Those that score at least as well as the worst fixed point: a faster network that has learnt nothing would
        sit on every front. All of them where there is no fixed point."""
        floor = min((self._score(t) for t in trials if t.origin["kind"] == FIXED_POINT), default=-math.inf)
        return [trial for trial in trials if self._score(trial) >= floor]

    # --- promotion

    def _promoted(self, rung: int) -> list[Architecture]:
        """Who trains at `rung`: the best by `_selected` of the rung below."""
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
        """`_selected`, once for as many trials: the store keeps who it was, since latencies become known meanwhile."""
        key = (name, len(trials))
        if key not in self._decisions:
            chosen = [trial.key for trial in self._selected(trials, places)]
            self.store.note(PROMOTION_NOTE, {"level": name, "of": len(trials), "chosen": chosen})
            self._decisions[key] = chosen
        by_key = {trial.key: trial for trial in trials}
        return [self._architecture(by_key[key]) for key in self._decisions[key]]

    def _selected(self, trials: Sequence[Trial], places: int) -> list[Trial]:
        """The `places` most promising: the best fixed points of different families, the best searched design that is
        no slower than the first of them, then searched designs by Pareto rank and crowding, then what is left."""
        if not trials or places < 1:
            return []
        losses, useful = self._losses(trials), self._useful(trials)
        ordered = [useful[i] for i in best_first([losses[trial.key] for trial in useful])]
        ordered += sorted((t for t in trials if t not in useful), key=lambda t: losses[t.key])
        fixed = _family_leaders(trials, losses)[: max(1, int(places * FIXED_SHARE))]
        searched = [trial for trial in ordered if trial.origin["kind"] == SEARCHED]
        chosen = {trial.key: trial for trial in (*fixed, *_challenger(searched, fixed, losses), *searched, *ordered)}
        return list(chosen.values())[:places]

    # --- what is worth measuring

    def contenders(self, count: int) -> list[Architecture]:
        """The `count` most promising designs of the highest rung that any trial has completed, not yet measured."""
        rung = max((rung for rung in range(len(self.ladder.rungs)) if self._complete_at((rung, False))), default=0)
        ordered = self._selected(self._complete_at((rung, False)), self.study.trials)
        designs = [self._architecture(trial) for trial in ordered]
        return [design for design in designs if design.id not in self.measured_ms][:count]

    def turned_away(self, count: int) -> list[Architecture]:
        """The latest designs that a budget in milliseconds rejected for the width of their interval alone."""
        designs = [design for design in self._turned_away.values() if design.id not in self.measured_ms]
        return designs[-count:]

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
        return StudyResult.from_store(self.study, self.store).with_predictions(self.profile())

    def seconds_spent(self) -> float:
        return time.monotonic() - self.started

    def _plan(self) -> list[tuple[Level, int]]:
        """How many trials each level takes, as far as can be told now."""
        plan, places = [((0, False), self.study.trials)], self.study.trials
        if self.reach is not None:
            plan.insert(0, ((PROBE_RUNG, False), len(PROBE_SHARES) * self.study.trials))
        for rung in range(1, len(self.ladder.rungs)):
            places = min(self.ladder.rungs[rung].trials, max(2, math.ceil(places / 2)))
            plan.append(((rung, False), places))
        return [*plan, ((self._top, True), min(places, self.study.finalists) * len(self.study.final_seeds))]

    def _show(self) -> None:
        trials = self.store.trials
        plan = self._plan()
        current = next((at for at, count in plan if len(self._finished(at)) < count), plan[-1][0])
        failures: dict[str, int] = {}
        for trial in trials:
            if trial.state == "failed":
                reason = (trial.reason or "").partition(":")[0][:40]
                failures[reason] = failures.get(reason, 0) + 1
        best = StudyResult.from_store(self.study, self.store).best_score()
        self.progress.update(
            ProgressState(
                phase="final training, test split" if current[1] else "search",
                rung=self.ladder.rungs[max(0, current[0])].name or f"rung {max(0, current[0])}",
                done=sum(trial.state != "submitted" for trial in trials),
                total=sum(count for _, count in plan),
                running=len(self.running),
                best=best[0] if best else None,
                best_name=best[1] if best else "",
                best_unit=self.study.objective.unit,
                seconds_spent=self.seconds_spent(),
                seconds_left=self._seconds_left(plan),
                rejected=dict(self.rejections.rejected),
                failed=failures,
            )
        )

    def _finished(self, at: Level) -> list[Trial]:
        return [trial for trial in self._at(at) if trial.state != "submitted"]

    def _seconds_left(self, plan: list[tuple[Level, int]]) -> float | None:
        """From the mean duration at each level; a level not reached yet counts by its samples."""
        work, rate = 0.0, None
        for at, count in plan:
            samples = self.ladder.rungs[max(0, at[0])].fidelity.samples
            measured = mean_seconds(self._at(at))
            rate = measured / samples if measured is not None else rate
            if rate is None:
                return None
            work += max(0, count - len(self._finished(at))) * rate * samples
        return work / max(1, self.at_a_time)


def _family_leaders(trials: Sequence[Trial], losses: dict[str, tuple[float, float]]) -> list[Trial]:
    """The most accurate fixed point of each family (the name up to the underscore), best first."""
    leaders: dict[str, Trial] = {}
    for trial in sorted(trials, key=lambda t: losses[t.key]):
        if trial.origin["kind"] == FIXED_POINT:
            leaders.setdefault(trial.architecture["name"].partition("_")[0], trial)
    return list(leaders.values())


def _challenger(
    searched: Sequence[Trial], fixed: Sequence[Trial], losses: dict[str, tuple[float, float]]
) -> list[Trial]:
    """The most accurate searched design that is predicted no slower than the best fixed point."""
    if not fixed:
        return []
    able = [trial for trial in searched if losses[trial.key][1] <= losses[fixed[0].key][1]]
    return sorted(able, key=lambda t: losses[t.key])[:1]
