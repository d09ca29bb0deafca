"""`collect`: check all input, make the folder, connect plan, store and runner, write the rows as one file."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nasbench.arch.architecture import Architecture
from nasbench.arch.library import load
from nasbench.costs.analytic import cost
from nasbench.costs.budget import Budget
from nasbench.errors import UserError
from nasbench.latency.names import THIS_MACHINE
from nasbench.latency.profile import load_device
from nasbench.progress import Progress, ProgressState, Silent
from nasbench.proxy.images import Images, images_named, prepare_sizes
from nasbench.running import run
from nasbench.space import SearchSpace
from nasbench.space.fixed import published_members
from nasbench.space.shipped import load_space
from nasbench.study import environment
from nasbench.study.fidelity import Ladder, load_recipe
from nasbench.study.runner import LAPTOP, Priority, RunnerSpec, load_runner, runner_ladder
from nasbench.study.spool import SPOOL
from nasbench.study.store import FILE as TRIALS
from nasbench.study.store import TrialStore
from nasbench.study.study import SpaceRecord
from nasbench.study.task import DATA, EVALUATE, require_images_for
from nasbench.study.trials import Split
from nasbench.table.around import Speed, picks
from nasbench.table.collecting import Collecting
from nasbench.table.collection import PACKED, Collection
from nasbench.table.designs import Octaves, Stratified
from nasbench.table.file import write_rows
from nasbench.table.folder import rows_of_folder
from nasbench.table.plan import FIRST_SEED, Held, Part, Planner, Wanted, check_counts, trainings_of, whole_plan
from nasbench.table.rows import LONG_RUNG
from nasbench.table.table import Table

DESIGNS, SEEDS = 250, 3
CLASSES = 1000  # with which costs are counted for budgets
LONG_NAME = "long"


@dataclass(frozen=True)
class Request:
    """What is to be collected: designs of a space within a budget (`octaves`).

    `parts` is the plan. Instead of its designs, `around` designs picked by the surrogate are trained where that is not
    0, and those `given` where there are any, as the only part says.
    """

    space: SearchSpace
    octaves: Octaves
    parts: Sequence[Part]
    around: int
    given: Sequence[Architecture]
    device: str
    seed: int

    @property
    def members(self) -> list[Architecture]:
        """The published members within the budget."""
        return list(published_members(self.space, (self.octaves.budget,), CLASSES).values())


def collect(
    space: str | Path = "metablock", budget: str = "2GFLOP", designs: int | None = None, *,
    rung: int | str | None = None, seeds: int | None = None, around: int = 0,
    architectures: Sequence[str | Path] = (), data: str | Path = DATA, split: Split = "validation",
    recipe: str | Path | None = None, runner: str | Path = LAPTOP,
    out: str | Path | None = None, time_limit: float | None = None, device: str = THIS_MACHINE, seed: int = 0,
    priority: Priority | None = None, progress: Progress | None = None,
) -> Table:  # fmt: skip
    """Train designs of `space` within `budget` -> the table, also written to `out`.

    `designs`: how many the folder shall hold beside the published members (250). Without `rung` a whole plan is
    trained: all of them once at the first rung, a tenth with `seeds` seeds, an eighth at each further rung, a tenth ten
    times as long as the last. With `rung` (number in the runner's ladder, name, -1 or "long") only that rung, `seeds`
    trainings each. `around`: instead, how many designs that a surrogate of the rows picks the folder shall hold.
    `architectures`: instead, designs by name or path, at one rung (the first), all seeds of one before the next.
    `recipe` replaces that of the ladder. Trainings in `out` are not repeated, so that a killed run can be resumed;
    after `time_limit` seconds no training starts. UserError where an argument is invalid.
    """
    octaves, found = Octaves(Budget.parse(budget), CLASSES), load_space(space)
    spec, ladder = load_runner(runner, priority), _ladder(runner, recipe)
    given = _given(architectures, found, octaves)
    if given and (around or designs is not None):
        raise UserError("--architectures says which designs are trained: leave --designs and --around out")
    parts = _parts(ladder, 0 if given and rung is None else rung, designs, seeds)
    check_counts(around, 1)
    request = Request(found, octaves, parts, around, given, device, seed)
    require_images_for(found.in_channels, f"space {found.label!r}")
    spec.require_device()
    found.sample(np.random.default_rng(seed), (octaves.budget,), CLASSES)  # raises where nothing fits the budget
    progress = progress or Silent()
    progress.update(ProgressState("preparing images"))
    images = images_named(data)
    made = _collection(found, images, split, ladder, spec)
    folder = Path(out) if out is not None else Path("results") / f"table-{found.name}"
    if around and not (folder / TRIALS).is_file():
        raise UserError(f"{folder}: holds no trainings to pick from; collect some without --around first")
    made.create(folder)
    _require_current(folder)
    fidelities = [made.fidelity(part.rung) for part in parts]
    prepare_sizes(images, [(size, fidelity) for size in found.file.resolution for fidelity in fidelities])
    deadline = time.monotonic() + time_limit if time_limit else math.inf
    _train(request, made, spec, folder, progress, deadline)
    rows = rows_of_folder(folder).rows
    write_rows(folder / PACKED, rows)
    return Table(rows, str(folder))


def _given(names: Sequence[str | Path], space: SearchSpace, octaves: Octaves) -> list[Architecture]:
    """The designs that a user names; UserError where one is outside the space or exceeds the budget."""
    found = []
    for name in names:
        arch = load(name)
        problem = space.outside(arch)
        if problem:
            raise UserError(f"{name}: outside space {space.label!r}: {problem}; give members, or another --space")
        if octaves.of(arch) is None:
            raise UserError(f"{name}: costs more than {octaves.budget.text}; leave it out, or raise --budget")
        found.append(arch)
    return found


def _collection(
    space: SearchSpace, images: Images, split: Split, ladder: Ladder, runner: RunnerSpec
) -> Collection:  # fmt: skip
    record = SpaceRecord(name=space.name, content=space.to_dict())
    return Collection(
        space=record, data=images.name, data_id=images.id, split=split, ladder=ladder, numerics=runner.numerics.text
    )


def _require_current(folder: Path) -> None:
    """Raise UserError where the folder holds stale trainings: new ones of the same designs would have equal keys."""
    stale = Table(rows_of_folder(folder).rows, str(folder)).stale
    if stale:
        raise UserError(
            f"{folder}: {stale} of its trainings are of networks that designs are not reduced to any more; give "
            "another folder with --out"
        )


def _ladder(runner: str | Path, recipe: str | Path | None) -> Ladder:
    """The runner's ladder, by another recipe where one is named."""
    ladder = runner_ladder(runner)
    if recipe is None:
        return ladder
    other = load_recipe(recipe)
    return ladder.replace(
        rungs=tuple(
            rung.replace(fidelity=other.at(rung.fidelity.samples, evaluate=rung.fidelity.evaluate))
            for rung in ladder.rungs
        )
    )


def _parts(ladder: Ladder, rung: int | str | None, designs: int | None, seeds: int | None) -> list[Part]:
    count = DESIGNS if designs is None else designs
    if rung is None:
        check_counts(count, SEEDS if seeds is None else seeds)
        return whole_plan(count, SEEDS if seeds is None else seeds, ladder.top)
    check_counts(count, 1 if seeds is None else seeds)
    return [Part(rung_number(ladder, rung), count, 1 if seeds is None else seeds)]


def rung_number(ladder: Ladder, wanted: int | str) -> int:
    """A rung by number or name; -1 or "long" is long training."""
    text = str(wanted).strip()
    if text in (str(LONG_RUNG), LONG_NAME):
        return LONG_RUNG
    for index, rung in enumerate(ladder.rungs):
        if text in (rung.name, str(index)):
            return index
    known = ", ".join(f"{index} ({rung.name})" if rung.name else str(index) for index, rung in enumerate(ladder.rungs))
    raise UserError(f"rung {wanted!r}: the ladder has {known} and -1 ({LONG_NAME}); name one of them")


def _train(
    request: Request, made: Collection, runner: RunnerSpec, folder: Path, progress: Progress, deadline: float
) -> None:
    with TrialStore(folder) as store:
        environment.record(folder)
        recovered = store.drain_spool()
        if store.trials:
            finished = sum(trial.finished for trial in store.trials)
            progress.note(f"{finished} trainings are finished, {len(recovered)} of them found in the spool; going on")
        plan, size = _plan(request, made, store, folder, progress)
        resume = not request.given  # named designs do not wait for unfinished others, which may take hours
        source = Collecting(made, store, plan, runner, progress, size, deadline, resume)
        run(source, EVALUATE, runner, folder / SPOOL)


def _plan(
    request: Request, made: Collection, store: TrialStore, folder: Path, progress: Progress
) -> tuple[Iterator[Wanted | None], tuple[int, float]]:
    """The trainings of the request, their number and their work in samples."""

    def held() -> Held:
        return Held(store.trials)

    if request.around:
        plan = _around(request, held(), folder, progress)
        return iter(plan), (len(plan), len(plan) * made.fidelity(0).work)
    if request.given:
        (part,) = request.parts
        plan = trainings_of(request.given, request.members, held(), part)
        return iter(plan), (len(plan), len(plan) * made.fidelity(part.rung).work)
    members, there = request.members, held().designs()
    rng = np.random.default_rng([request.seed, len(there)])
    drawing = Stratified(request.space, request.octaves, members, rng, {arch.id for arch in members})
    planner = Planner(request.parts, members, drawing, held, lambda rung: made.fidelity(rung).id)
    counts = [(len(members) + part.designs) * part.seeds for part in request.parts]
    work = sum(count * made.fidelity(part.rung).work for count, part in zip(counts, request.parts))
    return planner.trainings(), (sum(counts), work)


def _around(request: Request, held: Held, folder: Path, progress: Progress) -> list[Wanted]:
    """The designs picked so far, and new picks up to `request.around`."""
    picked = [trial.design for trial in held.designs().values() if trial.origin.how == "picked"]
    lacking = request.around - len(picked)
    if lacking > 0:
        rng = np.random.default_rng([request.seed, len(held.trials)])
        table, speed = Table(rows_of_folder(folder).rows, str(folder)), _speed(request, progress)
        progress.update(ProgressState("choosing designs"))
        picked += picks(table, request.space, request.octaves, speed, lacking, rng)
    return [Wanted(arch, 0, FIRST_SEED, "picked") for arch in picked[: request.around]]


def _speed(request: Request, progress: Progress) -> Speed:
    """Latency as the device's profile predicts it, or the budget's metric where this machine has none to be read."""
    try:
        profile = load_device(request.device)
    except UserError as error:
        if request.device != THIS_MACHINE:
            raise
        progress.note(f"bands are of cost, without latencies: {error}")
        budget, classes = request.octaves.budget, request.octaves.classes
        return lambda archs: np.array([cost(arch, classes).to_dict()[budget.metric] for arch in archs], float)
    return lambda archs: profile.predict(archs, request.octaves.classes).latency_ms
