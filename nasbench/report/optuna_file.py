"""A study as a file that Optuna opens, for its dashboard and its plots: an SQLite storage with two of its studies.

NAME holds every design with its score at the lowest rung, where all compare, and its latency. NAME by rung holds the
score alone as successive halving has it: intermediate values by rung, and a design that went no further is pruned.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from nasbench.errors import UserError
from nasbench.files import write_atomic
from nasbench.report.records import DesignRecord, about, design_records
from nasbench.report.results import StudyResult

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def write_optuna(result: StudyResult, path: Path) -> int:
    """Write the file -> how many designs are in it. It must not exist yet: a UserError where it does."""
    if path.exists():
        raise UserError(f"{path}: exists already; remove it, or give another file")
    records = design_records(result)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "study.db"
        _fill(result, records, f"sqlite:///{file.as_posix()}")
        write_atomic(path, file.read_bytes())
    return len(records)


def _fill(result: StudyResult, records: Sequence[DesignRecord], url: str) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.RDBStorage(url)
    noun, name = result.study.objective.noun, result.folder.resolve().name
    both = optuna.create_study(storage=storage, study_name=name, directions=["maximize", "minimize"])
    alone = optuna.create_study(storage=storage, study_name=f"{name} by rung", direction="maximize")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # of naming metrics
        both.set_metric_names([f"{noun} at rung 0", "latency, ms"])
        alone.set_metric_names([f"{noun} by rung"])
    for each in (both, alone):
        for key, value in about(result).items():
            each.set_user_attr(key, value)
    frozen = [_frozen(record, result.study.ladder.top) for record in records]
    both.add_trials([pair for pair, _ in frozen])
    alone.add_trials([single for _, single in frozen])
    storage.remove_session()
    storage.engine.dispose()


def _frozen(record: DesignRecord, top_rung: int) -> tuple[FrozenTrial, FrozenTrial]:
    """A design as a trial of either study."""
    from optuna.distributions import CategoricalDistribution
    from optuna.trial import TrialState, create_trial

    common = {
        "params": {name: value for name, (value, _) in record.fields.items()},
        "distributions": {name: CategoricalDistribution(choices) for name, (_, choices) in record.fields.items()},
        "user_attrs": record.attributes,
    }
    rungs, latency = record.rungs, record.latency_ms
    values = [rungs[0], latency] if latency is not None and 0 in rungs else None
    pair = create_trial(state=TrialState.FAIL if values is None else TrialState.COMPLETE, values=values, **common)
    top = max(rungs, default=-1)
    state = TrialState.FAIL if top < 0 else TrialState.COMPLETE if top == top_rung else TrialState.PRUNED
    single = create_trial(state=state, value=rungs.get(top), intermediate_values=rungs, **common)
    for trial in (pair, single):
        trial.datetime_start, trial.datetime_complete = map(datetime.fromtimestamp, record.seconds)
    return pair, single
