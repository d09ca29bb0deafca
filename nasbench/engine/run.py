"""One run of a study, from its stored trials to its report: connect the parts, train and measure, write the rest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from nasbench.arch.architecture import Architecture
from nasbench.costs.budget import total_violation
from nasbench.engine.device_source import DeviceSource
from nasbench.engine.driver import Driver
from nasbench.engine.measuring import Measuring
from nasbench.engine.phases import Phases, seconds_busy
from nasbench.engine.predictions import Predictions
from nasbench.engine.promotion import Promotions
from nasbench.engine.reporting import Reporting
from nasbench.engine.schedule import Schedule
from nasbench.engine.warm_start import breed_meanwhile, known_before, note_long_training
from nasbench.hardware import one_blas_thread
from nasbench.latency.profile import DeviceProfile
from nasbench.progress import Progress, ProgressState
from nasbench.report.results import StudyResult, check_scores
from nasbench.running import run
from nasbench.space import SearchSpace
from nasbench.space.fixed import published_members
from nasbench.study import environment
from nasbench.study.fidelity import recipe_name
from nasbench.study.notes import EndNote, PromotionNote, RejectionNote
from nasbench.study.predicted import predict
from nasbench.study.spool import SPOOL
from nasbench.study.store import TrialStore
from nasbench.study.study import Study
from nasbench.study.task import EVALUATE


def run_study(study: Study, folder: Path, progress: Progress, more_time: bool = False) -> StudyResult:
    """Train what the study in `folder` lacks, and report.

    `more_time`: its time limit counts from now, whatever was spent before.
    """
    space = SearchSpace.from_dict(study.space.content, study.space.name)
    with TrialStore(folder) as store:
        check_scores(study, store)
        environment.record(folder)
        _recover(study, store, progress)
        phases = Phases.of(study.ladder, study.time_limit_s, 0.0 if more_time else seconds_busy(store.trials))
        if phases.limited and not phases.leaves_time_for(0.0):
            progress.note(f"the time limit is used up; for more: nasbench resume {folder} --time-limit 10min")
        source = DeviceSource(study, space, folder, progress)
        try:
            if study.device_metrics:
                progress.update(ProgressState("measuring this machine"))
                source.wait()
            with one_blas_thread():  # the strategy's candidates are bred in a thread while Ray starts
                result = _train_and_measure(study, store, space, source, progress, phases)
        finally:
            source.stop()
    _write_page(result, progress)
    return result


def _recover(study: Study, store: TrialStore, progress: Progress) -> None:
    """Take in outcomes that workers left for a killed driver, and note what the search starts from."""
    recovered = store.drain_spool()
    if store.trials:
        finished = sum(trial.finished for trial in store.trials)
        progress.note(f"{finished} trials are finished, {len(recovered)} of them found in the spool; going on")
    names = dict.fromkeys(recipe_name(rung.fidelity) for rung in study.ladder.rungs)
    progress.note(f"trained by the recipe {' and '.join(names)}")
    for line in study.objective.notes:
        progress.note(line)


def _train_and_measure(
    study: Study, store: TrialStore, space: SearchSpace, source: DeviceSource, progress: Progress, phases: Phases
) -> StudyResult:
    """Run the study to its end, measuring designs meanwhile -> the result."""
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
    if table is not None:
        note_long_training(study, table, store)
    _note_the_end(schedule, store)
    source.wait()
    measuring.finish()
    return reporting.write()


def _note_rejections(schedule: Schedule, store: TrialStore) -> None:
    """Store how many designs this run rejected by which rule, for the report."""
    counter = schedule.rejections
    if counter.drawn or counter.rejected:
        store.note(RejectionNote(drawn=counter.drawn, accepted=counter.accepted, rejected=dict(counter.rejected)))


def _note_the_end(schedule: Schedule, store: TrialStore) -> None:
    """Store that nothing is left to train: a process that watches the folder cannot tell when a race has ended."""
    trials, known = store.trials, {note.trials for note in store.notes(EndNote)}
    over = all(trial.finished for trial in trials) and schedule.next_trial(trials) is None
    if over and len(trials) not in known:
        store.note(EndNote(trials=len(trials)))


def _write_page(result: StudyResult, progress: Progress) -> None:
    """Write the study's page, after all else; a failure is noted and does not fail the search."""
    from nasbench.page.render import FILE, write_page

    try:
        write_page(result.folder / FILE, [result])
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        progress.note(f"warning: {FILE} was not written ({reason}); `nasbench report {result.folder}` tries again")


def fixed_points_within(
    study: Study, space: SearchSpace, profile: DeviceProfile | None = None
) -> Mapping[str, Architecture]:
    """Id -> shipped network of the space that meets the budgets on cost, and, where a profile predicts them, those on
    the device's time, memory and energy; largest first, families in turn."""
    fitting = published_members(space, study.budgets, study.classes)
    limits = [budget for budget in study.budgets if budget.metric in study.device_metrics]
    if not limits or profile is None:
        return fitting
    predicted = predict(profile, list(fitting.values()), study.classes, study.device_metrics)
    return {key: arch for key, arch in fitting.items() if total_violation(limits, predicted[key].upper) == 0}
