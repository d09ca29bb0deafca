"""`search` and `resume`: check all input, make the study's folder, wire the parts of a run, report."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np

from nasbench.arch.architecture import Architecture
from nasbench.costs.budget import device_metrics, on_cost, parse_budgets, total_violation
from nasbench.engine.device_source import DeviceSource
from nasbench.engine.driver import EVALUATE, Driver
from nasbench.engine.measuring import Measuring
from nasbench.engine.phases import Phases, seconds_busy
from nasbench.engine.predictions import Predictions
from nasbench.engine.promotion import Promotions
from nasbench.engine.reporting import Reporting
from nasbench.engine.schedule import Schedule
from nasbench.engine.warm_start import COLD, WARM, breed_meanwhile, check_table, has_table, known_before
from nasbench.errors import UserError
from nasbench.files import data_path, data_spec
from nasbench.latency import standalone
from nasbench.latency.energy import required_meter
from nasbench.latency.names import THIS_MACHINE
from nasbench.latency.profile import DeviceProfile, load_device
from nasbench.progress import Progress, ProgressState, Silent
from nasbench.report.results import StudyResult, check_scores
from nasbench.running import run
from nasbench.running.session import check_address
from nasbench.space import SearchSpace
from nasbench.space.fixed import published_members
from nasbench.space.shipped import load_space
from nasbench.strategies import StrategyChoice
from nasbench.study import environment
from nasbench.study.fidelity import recipe_name
from nasbench.study.notes import EndNote, PromotionNote, RejectionNote
from nasbench.study.objective import OBJECTIVES, split_objective
from nasbench.study.predicted import predict
from nasbench.study.runner import (
    LAPTOP,
    Priority,
    Promotion,
    RunnerSpec,
    load_runner,
    runner_ladder,
    runner_promotion,
)
from nasbench.study.spool import SPOOL
from nasbench.study.store import TrialStore
from nasbench.study.study import SpaceRecord, Study
from nasbench.study.task import DATASETS, require_images_for

TRIAL_LIMIT_S = 900.0
FINALISTS = 6  # three contests, of a published network and its challenger each
FINAL_TRAININGS = 20  # at most: two of each finalist, and eight for contests that are open
FINAL_SEEDS = 12  # of a design at most, in the race between finalists


def search(
    space: str | Path = "metablock", budgets: Sequence[str] = ("1GFLOP",), data: str | Path = "fashion-on-earth",
    trials: int | None = None, out: str | Path | None = None, runner: str | Path = LAPTOP, strategy: str | None = None,
    seed: int = 0, classes: int = 1000, device: str = THIS_MACHINE, address: str | None = None,
    time_limit: float | None = None, progress: Progress | None = None, objective: str = "supervised",
    priority: Priority | None = None, strategy_options: Mapping[str, object] | None = None,
    promotion: Promotion | None = None,
) -> StudyResult:  # fmt: skip
    """Search `space` for designs within `budgets` that are accurate and fast -> the study, stored in `out`.

    `trials` designs are trained at the lowest rung, by default as many as the runner's ladder says, fewer where
    `time_limit` (seconds) asks for it, which is shared out among the levels. `objective`: "supervised" (accuracy) or
    "masked", which reads no labels and ranks by how well hidden parts of images are painted, or "predicted@4GFLOP": by
    the error that designs should have there. `priority`: that of the trials beside other work, "low" (nice 15) or
    "normal". Everything is checked before anything is written; a UserError says what to change. `strategy`: a name in
    `nasbench.strategies.STRATEGIES`, or "mine.py:propose", a function of your own; by default "warm" where a table
    holds trainings of this space on these images, else "evolution". `strategy_options` are its settings. `promotion`:
    "rungs" or "asynchronous", whether designs go on to a rung when the one below is complete, or meanwhile; by default
    what the runner's file says.
    """
    found, limits, ladder = load_space(space), parse_budgets(budgets), runner_ladder(runner)
    require_images_for(found.in_channels, f"space {found.label!r}")
    _check_device(device, device_metrics(limits))
    content = {
        "space": SpaceRecord(name=found.name, content=found.to_dict()),
        "objectives": _objectives(objective),
        "budgets": limits,
        "classes": classes,
        "data": data_spec(str(data), DATASETS),
        "ladder": ladder,
        "strategy": StrategyChoice.from_dict({**(strategy_options or {}), "name": strategy or COLD}),
        "trials": ladder.rungs[0].trials if trials is None else trials,
        "seed": seed,
        "device": device,
        "time_limit_s": time_limit,
        "promotion": runner_promotion(runner) if promotion is None else promotion,
        "open_ended": time_limit is not None and trials is None,
        "runner": _runner_at(runner, address).with_priority(priority),
    }
    study = Study.from_dict(content, "search")
    study = study.replace(**_settled(study.seed))
    check_table(study)
    study.strategy.check()
    found.sample(np.random.default_rng(seed), budgets=on_cost(limits), num_classes=classes)  # or it says why not
    progress = progress or Silent()
    progress.update(ProgressState("preparing images"))
    study = study.replace(data_id=_prepare_data(study))
    if strategy is None and not strategy_options and has_table(study):
        study = study.replace(strategy=StrategyChoice.from_dict({"name": WARM}))
    folder = Path(out) if out is not None else _claimed(default_folder(study))
    study.create(folder)
    return _run(study, folder, progress)


def _settled(seed: int) -> dict[str, object]:
    """What a new study is not asked for. The finals' seeds are not the search's own, whose luck it has chosen by."""
    return {
        "final_seeds": tuple(range(seed + 1, seed + 1 + FINAL_SEEDS)),
        "finalists": FINALISTS,
        "race": FINAL_TRAININGS,
        "trial_limit_s": TRIAL_LIMIT_S,
        "numerics_in_keys": True,
        "commit": environment.commit(),
    }


def resume(
    folder: str | Path,
    time_limit: float | None = None,
    progress: Progress | None = None,
    data: str | Path | None = None,
    priority: Priority | None = None,
    strategy: str | None = None,
) -> StudyResult:
    """Go on with the study in `folder`, whatever stopped it; what is finished is not trained again.

    `time_limit` (seconds) counts from now; without it a search that began with one has what is left of its own.
    `data`: where its images lie now, if not where the study says; `strategy`: the file and function to propose by from
    now on, where the study's own is such a one and was corrected. The study is told of both.
    """
    study = Study.open(folder)
    study = study.replace(runner=study.runner.with_priority(priority))
    if data is not None:
        study = study.replace(data=data_spec(str(data), DATASETS))
    if strategy is not None:
        study = study.replace(strategy=study.strategy.corrected(strategy))
        study.strategy.check()
    _require_data(study, folder)
    study.runner.require_device()
    progress = progress or Silent()
    progress.update(ProgressState("preparing images"))
    data_id = _prepare_data(study)
    if study.data_id is not None and data_id != study.data_id:
        raise UserError(
            f"{study.data}: its images have changed since the study began, or are others; name those with `nasbench "
            f"resume {folder} --data DIR`, or start a new study with --out"
        )
    if data is not None or strategy is not None:
        study.write(folder)
    limit = study.time_limit_s if time_limit is None and study.open_ended else time_limit
    study = study.replace(data_id=data_id, time_limit_s=limit)
    return _run(study, Path(folder), progress, more_time=time_limit is not None)


def _require_data(study: Study, folder: str | Path) -> None:
    """A UserError where the images of a stored study are not where it says, which may be relative to a lost place."""
    name, _, archive = study.data.partition(":")
    if study.data in DATASETS:
        return
    path = data_path(archive if name in DATASETS else study.data)
    if path.exists():
        return
    if path.is_absolute():
        why = f"its images lie in {path}, which is not there; put them back"
    else:
        why = (
            f"its images are stored as {str(path)!r}, relative to where the search was started, and {path.absolute()} "
            "is not there; run this from that folder"
        )
    raise UserError(f"{folder}: {why}, or say where they are: `nasbench resume {folder} --data DIR`")


def _claimed(wanted: Path) -> Path:
    """A new folder of this name, or of the first `NAME-2`, `NAME-3`, ... that nobody else has made."""
    for turn in itertools.count(1):
        folder = wanted if turn == 1 else wanted.with_name(f"{wanted.name}-{turn}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise UserError(f"{folder}: cannot be made: {error.strerror}; give a folder with --out") from None
        return folder
    raise AssertionError("counting never ends")


def default_folder(study: Study) -> Path:
    """results/SPACE-BUDGETS-TIME below the current folder."""
    words = [study.space.name, *map(str, study.budgets), datetime.now().strftime("%Y%m%d-%H%M%S")]
    return Path("results") / "-".join(word.replace(" ", "").replace("/", "-") for word in words)


def fitting_fixed_points(study: Study, space: SearchSpace) -> dict[str, Architecture]:
    """Id -> shipped network of the space that meets the budgets on cost; largest first, families in turn."""
    return published_members(space, study.budgets, study.classes)


def fixed_points_within(study: Study, space: SearchSpace, profile: DeviceProfile | None) -> Mapping[str, Architecture]:
    """Those of `fitting_fixed_points` that also meet the budgets on the device's time, memory and energy."""
    fitting = fitting_fixed_points(study, space)
    limits = [budget for budget in study.budgets if budget.metric in study.device_metrics]
    if not limits or profile is None:
        return fitting
    predicted = predict(profile, list(fitting.values()), study.classes, study.device_metrics)
    return {key: arch for key, arch in fitting.items() if total_violation(limits, predicted[key].upper) == 0}


def _objectives(text: str) -> tuple[str, ...]:
    """A study's objectives from `--objective`: what is trained, latency, and a size that errors are extrapolated to."""
    name, extrapolated = split_objective(text)
    if name not in OBJECTIVES:
        raise UserError(f"unknown objective {name!r}; known objectives: {', '.join(OBJECTIVES)}, predicted@4GFLOP")
    return OBJECTIVES[name].loss, "latency_ms", *extrapolated


def _runner_at(name_or_path: str | Path, address: str | None) -> RunnerSpec:
    """The runner, at the cluster's address where one is given; UserError where nothing answers there."""
    spec = load_runner(name_or_path)
    spec = spec if address is None else spec.replace(address=address)
    spec.require_device()
    if spec.address not in (None, "auto"):
        check_address(str(spec.address))
    return spec


def _check_device(name: str, metrics: Sequence[str]) -> None:
    """Raise UserError unless the device's profile predicts `metrics`, or this machine can be measured for them."""
    try:
        profile = load_device(name)
    except UserError:
        if name != THIS_MACHINE:
            raise
        if "energy_j" in metrics:
            required_meter()
        if "memory_bytes" in metrics and not standalone.tells_memory():
            raise UserError("this system does not tell the memory of a process; bind another --device") from None
    else:
        profile.require_metrics(metrics)


def _prepare_data(study: Study) -> str:
    """Decode the images once, before any worker needs them -> the data set's id."""
    from nasbench.proxy.evaluate import prepare

    resolutions = study.space.content.get("resolution", 256)
    sizes = tuple(resolutions) if isinstance(resolutions, (list, tuple)) else (resolutions,)
    ids = {
        prepare(study.data, rung.fidelity, sizes, study.data_seed, study.objective.name).id
        for rung in study.ladder.rungs
    }
    return ids.pop()


def _run(study: Study, folder: Path, progress: Progress, more_time: bool = False) -> StudyResult:
    """`more_time`: the time limit counts from now, whatever was spent before."""
    space = SearchSpace.from_dict(study.space.content, study.space.name)
    with TrialStore(folder) as store:
        check_scores(study, store)
        environment.record(folder)
        _greet(study, store, progress)
        phases = Phases.of(study.ladder, study.time_limit_s, 0.0 if more_time else seconds_busy(store.trials))
        if phases.limited and not phases.leaves_time_for(0.0):
            progress.note(f"the time limit is used up; for more: nasbench resume {folder} --time-limit 10min")
        source = DeviceSource(study, space, folder, progress)
        try:
            if study.device_metrics:
                progress.update(ProgressState("measuring this machine"))
                source.wait()
            result = _train_and_measure(study, store, space, source, progress, phases)
        finally:
            source.stop()
    result.report()
    _write_page(result, progress)
    return result


def _write_page(result: StudyResult, progress: Progress) -> None:
    """The study's page, once all else is written; the search has succeeded whatever becomes of it."""
    from nasbench.page.render import FILE, write_page

    try:
        write_page(result.folder / FILE, [result])
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        progress.note(f"warning: {FILE} was not written ({reason}); `nasbench report {result.folder}` tries again")


def _greet(study: Study, store: TrialStore, progress: Progress) -> None:
    """Take in what workers left behind a killed driver, and say what the search starts from."""
    recovered = store.drain_spool()
    if store.trials:
        finished = sum(trial.finished for trial in store.trials)
        progress.note(f"{finished} trials are finished, {len(recovered)} of them found in the spool; going on")
    names = dict.fromkeys(recipe_name(rung.fidelity) for rung in study.ladder.rungs)
    progress.note(f"trained by the recipe {' and '.join(names)}")
    for line in study.objective.notes:
        progress.note(line)


def _note_rejections(schedule: Schedule, store: TrialStore) -> None:
    """Keep what this run turned away and by which rule, for the report."""
    counter = schedule.rejections
    if counter.drawn or counter.rejected:
        store.note(RejectionNote(drawn=counter.drawn, accepted=counter.accepted, rejected=dict(counter.rejected)))


def _train_and_measure(
    study: Study, store: TrialStore, space: SearchSpace, source: DeviceSource, progress: Progress, phases: Phases
) -> StudyResult:
    """Run the study to its end, its designs measured meanwhile -> the result."""
    known = StudyResult.from_store(study, store).with_measurements(source())
    predictions = Predictions(study, source, known.measured_ms)
    promotions = Promotions(store.notes(PromotionNote), store.note)
    table = known_before(study)
    if table is not None:
        progress.note(f"starting from {table}")
        breed_meanwhile(study, space, table)
    fixed = fixed_points_within(study, space, source())
    schedule = Schedule(study, space, fixed, predictions, promotions, table, phases)
    reporting = Reporting(schedule, store, source, progress)
    measuring = Measuring(schedule, store, source, reporting, progress)
    try:
        run(Driver(schedule, store, reporting, measuring), EVALUATE, study.runner, store.folder / SPOOL)
    finally:
        _note_rejections(schedule, store)
    _note_the_end(schedule, store)
    source.wait()
    measuring.finish()
    return reporting.result()


def _note_the_end(schedule: Schedule, store: TrialStore) -> None:
    """Say in the store that nothing is left to train, for those who watch: how long a race takes only it knows."""
    trials, known = store.trials, {note.trials for note in store.notes(EndNote)}
    over = all(trial.finished for trial in trials) and schedule.next_trial(trials) is None
    if over and len(trials) not in known:
        store.note(EndNote(trials=len(trials)))
