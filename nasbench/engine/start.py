"""`search` and `resume`: set a study up, run it, measure the finalists, report."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np

from nasbench.arch.architecture import Architecture
from nasbench.arch.library import fixed_points
from nasbench.costs.budget import device_metrics, on_cost, parse_budgets, total_violation
from nasbench.engine.device_source import DeviceSource
from nasbench.engine.driver import EVALUATE, Driver
from nasbench.engine.measuring import Measuring
from nasbench.errors import UserError
from nasbench.latency import standalone
from nasbench.latency.energy import required_meter
from nasbench.latency.names import THIS_MACHINE
from nasbench.latency.profile import DeviceProfile, load_device
from nasbench.progress import Progress, ProgressState, Silent
from nasbench.report.results import StudyResult, binding, check_scores, predictions
from nasbench.running import run
from nasbench.running.session import check_address
from nasbench.scaling.objective import split_objective
from nasbench.space import SearchSpace
from nasbench.space.shipped import load_space
from nasbench.strategies import STRATEGIES
from nasbench.study import environment
from nasbench.study.fidelity import Ladder
from nasbench.study.objective import OBJECTIVES
from nasbench.study.runner import RunnerSpec, load_runner, runner_ladder
from nasbench.study.study import SpaceRecord, Study
from nasbench.study.trials import SPOOL, TrialStore

TRIAL_LIMIT_S = 900.0


def search(
    space: str | Path = "metablock",
    budgets: Sequence[str] = ("1GFLOP",),
    data: str | Path = "fashion-on-earth",
    trials: int | None = None,
    out: str | Path | None = None,
    runner: str | Path = "laptop",
    strategy: str = "evolution",
    seed: int = 0,
    classes: int = 1000,
    device: str = THIS_MACHINE,
    address: str | None = None,
    time_limit: float | None = None,
    progress: Progress | None = None,
    objective: str = "supervised",
) -> StudyResult:
    """Search `space` for designs within `budgets` that are accurate and fast -> the study, stored in `out`.

    `trials` designs are trained at the lowest rung, by default as many as the runner's ladder says. `time_limit`
    (seconds) bounds when the last trial may start. `objective`: "supervised" (accuracy) or "masked", which reads no
    labels and ranks by how well hidden parts of images are painted, or "predicted@4GFLOP": by the error that designs
    should have there. Everything is checked before anything is written; a UserError says what to change.
    """
    found, limits = load_space(space), parse_budgets(budgets)
    spec = load_runner(runner)
    if address is not None:
        spec = spec.model_copy(update={"address": address})
    objective, extrapolated = split_objective(objective)
    _check(spec, strategy, objective)
    _check_device(device, device_metrics(limits))
    ladder = runner_ladder(runner)
    content = {
        "space": SpaceRecord(name=found.name, content=found.to_dict()),
        "objectives": (OBJECTIVES[objective].loss, "latency_ms", *extrapolated),
        "budgets": tuple(budgets),
        "classes": classes,
        "data": str(data),
        "ladder": tuple(ladder),
        "strategy": {"name": strategy},
        "trials": Ladder.from_list(ladder).rungs[0].trials if trials is None else trials,
        "seed": seed,
        "device": device,
        "final_seeds": tuple(range(seed + 1, seed + 4)),  # not the search's own, whose luck it has chosen by
        "trial_limit_s": TRIAL_LIMIT_S,
        "time_limit_s": time_limit,
        "runner": spec.to_dict(),
        "commit": environment.commit(),
    }
    study = Study.from_dict({key: value for key, value in content.items() if value is not None}, "search")
    rng = np.random.default_rng(seed)
    found.sample(rng, budgets=on_cost(limits), num_classes=classes)  # or it says why not
    folder = Path(out) if out is not None else default_folder(study)
    progress = progress or Silent()
    progress.update(ProgressState("preparing images"))
    study = study.replace(data_id=_prepare_data(study))
    study.create(folder)
    return _run(study, folder, progress)


def resume(folder: str | Path, time_limit: float | None = None, progress: Progress | None = None) -> StudyResult:
    """Go on with the study in `folder`, whatever stopped it; what is finished is not trained again."""
    study = Study.open(folder)
    progress = progress or Silent()
    progress.update(ProgressState("preparing images"))
    data_id = _prepare_data(study)
    if study.data_id is not None and data_id != study.data_id:
        raise UserError(f"{study.data}: its images have changed since the study began; start a new one with --out")
    return _run(study.replace(data_id=data_id, time_limit_s=time_limit), Path(folder), progress)


def default_folder(study: Study) -> Path:
    """results/SPACE-BUDGETS-TIME below the current folder."""
    words = [study.space.name, *study.budgets, datetime.now().strftime("%Y%m%d-%H%M%S")]
    return Path("results") / "-".join(word.replace(" ", "").replace("/", "-") for word in words)


def fitting_fixed_points(study: Study, space: SearchSpace) -> dict[str, Architecture]:
    """Id -> shipped network of the space that meets the budgets on cost; largest first, families in turn."""
    from nasbench.costs.analytic import cost

    limits = on_cost(study.parsed_budgets)
    families: dict[str, list[tuple[int, Architecture]]] = {}
    for name, arch in fixed_points().items():
        costs = cost(arch, study.classes)
        if space.contains(arch) and total_violation(limits, costs.to_dict()) == 0:
            families.setdefault(name.partition("_")[0], []).append((costs.macs, arch))
    queues = [sorted(queue, key=lambda item: -item[0]) for queue in families.values()]
    ordered = [
        queue[turn][1] for turn in range(max(map(len, queues), default=0)) for queue in queues if turn < len(queue)
    ]
    return {arch.id: arch for arch in ordered}


def _check(runner: RunnerSpec, strategy: str, objective: str) -> None:
    """Raise UserError for what would fail only after the study's folder is made."""
    if objective not in OBJECTIVES:
        raise UserError(f"unknown objective {objective!r}; known objectives: {', '.join(OBJECTIVES)}, predicted@4GFLOP")
    if strategy not in STRATEGIES:
        raise UserError(f"unknown strategy {strategy!r}; known strategies: {', '.join(sorted(STRATEGIES))}")
    if runner.address not in (None, "auto"):
        check_address(runner.address)


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
        prepare(study.data, rung.fidelity.to_dict(), sizes, study.data_seed, study.objective.name).id
        for rung in Ladder.from_list(study.ladder).rungs
    }
    return ids.pop()


def _run(study: Study, folder: Path, progress: Progress) -> StudyResult:
    space = SearchSpace.from_dict(study.space.content, study.space.name)
    deadline = time.monotonic() + study.time_limit_s if study.time_limit_s else math.inf
    with TrialStore(folder) as store:
        check_scores(study, store)
        environment.record(folder)
        recovered = store.drain_spool()
        if store.trials:
            finished = sum(trial.state != "submitted" for trial in store.trials)
            progress.note(f"{finished} trials are finished, {len(recovered)} of them found in the spool; going on")
        for line in study.objective.notes:
            progress.note(line)
        source = DeviceSource(study, space, folder, progress)
        try:
            if study.device_metrics:
                progress.update(ProgressState("measuring this machine"))
                source.wait()
            driver = Driver(study, store, space, _fixed_within(study, space, source), source, progress, deadline)
            measuring = Measuring(driver, source, progress)
            run(measuring, EVALUATE, RunnerSpec.from_dict(study.runner), folder / SPOOL)
            source.wait()
            measuring.finish()
        finally:
            source.stop()
        result = driver.result()
    result.report()
    return result


def _fixed_within(
    study: Study, space: SearchSpace, source: Callable[[], DeviceProfile | None]
) -> dict[str, Architecture]:
    """The fixed points that meet all budgets, those on the device's time, memory and energy included."""
    fitting = fitting_fixed_points(study, space)
    limits = [budget for budget in study.parsed_budgets if budget.metric in study.device_metrics]
    profile = source()
    if not limits or profile is None:
        return fitting
    predicted = predictions(profile, list(fitting.values()), study)
    return {key: arch for key, arch in fitting.items() if total_violation(limits, binding(predicted[key])) == 0}
