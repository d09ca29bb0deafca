"""A scaling study: designs, each at several sizes and sample counts with several seeds, trained and kept in a folder.

The folder holds `scaling.toml` (all that is needed to run it again), `trials.jsonl` and `environment.json`. A study
that was stopped goes on where it was: what to train next is read off the trials.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nasbench import __version__
from nasbench.arch.architecture import Architecture
from nasbench.costs.budget import Budget, parse_budgets
from nasbench.errors import UserError
from nasbench.files import read_toml, write_toml
from nasbench.progress import Progress, ProgressState, Silent
from nasbench.running import Job, Outcome, RunnerSpec, run
from nasbench.scaling.rules import rule_named
from nasbench.scaling.target import scale_to, scaled_name
from nasbench.study import environment
from nasbench.study.fidelity import Fidelity
from nasbench.study.trials import SPOOL, Trial, TrialStore
from nasbench.values import first_problem

FILE = "scaling.toml"
EVALUATE = "nasbench.proxy.evaluate:evaluate"
KIND = "scaled"  # of a trial's origin
MAY_DIFFER = {"version", "commit", "runner"}  # between two runs of one study
MAY_GROW = {"designs", "targets", "samples", "seeds", "made"}  # no finished trial depends on how many there are


class Member(NamedTuple):
    """One scaled design: the name of what it was made from, its target as written, and itself."""

    family: str
    target: str
    arch: Architecture


def _nameless(arch: Architecture) -> dict[str, Any]:
    return {key: value for key, value in arch.to_dict().items() if key != "name"}


class ScalingStudy(BaseModel):
    """`designs` (name -> architecture) along `rule` at each of `targets`, trained on each of `samples` with each of
    `seeds`; `fidelity` holds everything else about the training."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    designs: dict[str, dict[str, Any]] = Field(min_length=1)
    rule: str = "width"
    targets: tuple[str, ...] = Field(min_length=1)
    samples: tuple[int, ...] = Field(min_length=1)
    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=1)
    fidelity: dict[str, Any] = Field(default_factory=dict)
    classes: int = Field(1000, ge=2)  # that targets are counted with
    data: str = "fashion-on-earth"
    data_id: str | None = None
    split: str = "validation"
    runner: dict[str, Any]
    made: dict[str, dict[str, Any]] = Field(default_factory=dict)  # the scaled designs by name, once they are made
    version: str = __version__
    commit: str | None = None

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], source: str = FILE) -> ScalingStudy:
        try:
            study = cls.model_validate(dict(content))
        except ValidationError as error:
            raise UserError(f"{source}: {first_problem(error, cls)}") from None
        rule_named(study.rule)
        parse_budgets(study.targets)
        study.fidelity_at(study.samples[0])
        return study

    @classmethod
    def open(cls, folder: Path | str) -> ScalingStudy:
        path = Path(folder) / FILE
        if not path.is_file():
            raise UserError(f"{folder}: holds no {FILE}; make one with `nasbench scale train ... --out {folder}`")
        return cls.from_dict(read_toml(path), str(path))

    def to_dict(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude_none=True)

    def create(self, folder: Path) -> None:
        """Make `folder` this study's; one that holds a study of other training is an error, and stays as it is."""
        if (folder / FILE).is_file():
            there, here = ScalingStudy.open(folder).to_dict(), self.to_dict()
            for key in sorted((there.keys() | here.keys()) - MAY_DIFFER - MAY_GROW):
                if there.get(key) != here.get(key):
                    raise UserError(f"{folder}: holds another study ({key} differs); give another folder with --out")
        elif folder.is_dir() and any(not entry.name.startswith(".") for entry in folder.iterdir()):
            raise UserError(f"{folder}: holds files, but no {FILE}; give a new or empty folder with --out")
        folder.mkdir(parents=True, exist_ok=True)
        write_toml(folder / FILE, self.to_dict())

    def fidelity_at(self, samples: int) -> Fidelity:
        return Fidelity.from_dict({**self.fidelity, "samples": samples}, FILE)

    def family(self) -> list[Member]:
        """Every design at every target: as it was made once, else scaled now."""
        from nasbench.scaling.measures import measure

        rule, found = rule_named(self.rule), []
        for name, content in self.designs.items():
            base = Architecture.from_dict({**content, "name": name}, f"{FILE}: designs.{name}")
            for target in parse_budgets(self.targets):
                key = scaled_name(base, target)
                if key in self.made:
                    arch = Architecture.from_dict({**self.made[key], "name": key}, f"{FILE}: made.{key}")
                else:
                    arch = scale_to(base, target, rule, measure(target, self.classes)).arch
                found.append(Member(name, str(target), arch))
        return found

    def with_family(self, folder: Path) -> ScalingStudy:
        """With its scaled designs written down, those that `folder` has already first: trials are known by them."""
        before = ScalingStudy.open(folder).made if (folder / FILE).is_file() else {}
        study = self.model_copy(update={"made": {**self.made, **before}})
        made = {member.arch.name: _nameless(member.arch) for member in study.family()}
        return study.model_copy(update={"made": {**study.made, **made}})

    def trials(self) -> Iterator[Trial]:
        """All that the study trains: sample counts in the order given, then seeds, designs and sizes."""
        from nasbench.costs.analytic import cost

        family = [(member, cost(member.arch, self.classes).to_dict()) for member in self.family()]
        for samples in self.samples:
            fidelity = self.fidelity_at(samples).to_dict()
            for seed in self.seeds:
                for member, costs in family:
                    origin = {
                        "kind": KIND,
                        "family": member.family,
                        "rule": self.rule,
                        "target": member.target,
                        "cost": costs,
                    }
                    yield Trial.new(
                        member.arch.to_dict(), member.arch.id, fidelity=fidelity, seed=seed,
                        data=self.data_id or self.data, split=self.split, origin=origin,
                    )  # fmt: skip


class _Jobs:
    """The study's trials as a runner's source of jobs."""

    def __init__(self, study: ScalingStudy, store: TrialStore, progress: Progress) -> None:
        self.study, self.store, self.progress = study, store, progress
        self.all = list(study.trials())
        self.waiting = [trial for trial in self.all if not store.has_result(trial.key)]
        self.runner = RunnerSpec.from_dict(study.runner)

    def ask(self) -> Job | None:
        if not self.waiting:
            return None
        trial = self.waiting.pop(0)
        self.store.submit(trial)
        self._show()
        task = {
            "architecture": trial.architecture,
            "fidelity": trial.fidelity,
            "seed": trial.seed,
            "data": self.study.data,
            "split": trial.split,
            "accelerator": self.runner.device,
            "precision": self.runner.precision,
            "channels_last": self.runner.channels_last,
        }
        return Job(trial.key, task)

    def tell(self, job: Job, outcome: Outcome) -> None:
        trial = self.store.finish(job.id, outcome)
        name = f"{trial.architecture['name']}, {trial.fidelity['samples']} samples, seed {trial.seed}"
        result = f"accuracy {outcome.metrics['accuracy']:.3f}" if outcome.metrics else f"failed: {outcome.reason}"
        self.progress.note(f"{name}: {result}")

    def _show(self) -> None:
        done = sum(self.store.has_result(trial.key) for trial in self.all)
        self.progress.update(ProgressState("scaling study", done=done, total=len(self.all), running=1))


def train_family(study: ScalingStudy, folder: Path | str, progress: Progress | None = None) -> Path:
    """Train what `study` has not trained yet into `folder`."""
    from nasbench.proxy.evaluate import prepare

    folder, progress = Path(folder), progress or Silent()
    study = study.with_family(folder)  # a target that cannot be met is told before anything is written
    progress.update(ProgressState("preparing images"))
    sizes = tuple(member.arch.resolution for member in study.family())
    data = prepare(study.data, study.fidelity_at(study.samples[0]).to_dict(), sizes)
    study = study.model_copy(update={"data_id": data.id})
    study.create(folder)
    with TrialStore(folder) as store:
        environment.record(folder)
        store.drain_spool()
        run(_Jobs(study, store, progress), EVALUATE, RunnerSpec.from_dict(study.runner), folder / SPOOL)
    return folder


def new_study(
    designs: Sequence[Architecture], targets: Sequence[Budget], samples: Sequence[int], seeds: int, **settings: Any
) -> ScalingStudy:
    """A study of `designs` at `targets`; `settings` are further fields of `ScalingStudy`."""
    content = {
        "designs": {arch.label: _nameless(arch) for arch in designs},
        "targets": tuple(str(target) for target in targets),
        "samples": tuple(samples),
        "seeds": tuple(range(seeds)),
        "commit": environment.commit(),
        **settings,
    }
    return ScalingStudy.from_dict({key: value for key, value in content.items() if value is not None}, "study")
