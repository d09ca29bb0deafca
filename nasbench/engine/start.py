"""`search` and `resume`: the study to run, checked, with its images decoded and its folder made."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np

from nasbench.costs.budget import device_metrics, on_cost, parse_budgets
from nasbench.engine import checks
from nasbench.engine.run import run_study
from nasbench.engine.warm_start import COLD, WARM, check_table, has_table
from nasbench.errors import UserError, require
from nasbench.files import data_spec
from nasbench.latency.names import THIS_MACHINE
from nasbench.progress import Progress, ProgressState, Silent
from nasbench.report.results import StudyResult
from nasbench.space.file import read_space
from nasbench.space.shipped import load_space
from nasbench.strategies import StrategyChoice
from nasbench.study import environment
from nasbench.study.runner import LAPTOP, Priority, Promotion, runner_ladder, runner_promotion
from nasbench.study.study import SpaceRecord, Study
from nasbench.study.task import DATASETS, require_images_for

TRIAL_LIMIT_S = 900.0
FINALISTS = 7  # three published networks, a challenger of each, and the most accurate design
FINAL_TRAININGS = 22  # at most: two of each finalist, and eight for undecided contests
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
    holds trainings of this space by this recipe, else "evolution". `strategy_options` are its settings. `promotion`:
    "rungs" or "asynchronous", whether designs go on to a rung when the one below is complete, or meanwhile; by default
    what the runner's file says.
    """
    require("whole number", trials=trials, seed=seed, classes=classes)
    require("number", time_limit=time_limit)
    require("name or path", runner=runner, out="" if out is None else out)
    require("text", objective=objective)
    require("dict", strategy_options=strategy_options)
    found, limits, ladder = load_space(space), parse_budgets(budgets), runner_ladder(runner)
    require_images_for(found.in_channels, f"space {found.label!r}")
    checks.check_device(device, device_metrics(limits))
    content = {
        "space": SpaceRecord(name=found.name, content=found.to_dict()),
        "objectives": checks.objectives(objective),
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
        "runner": checks.runner_at(runner, address).with_priority(priority),
    }
    study = Study.from_dict(content, "search")
    study = study.replace(**_settled(study.seed))
    check_table(study)
    study.strategy.check()
    found.sample(np.random.default_rng(seed), budgets=on_cost(limits), num_classes=classes)  # or it says why not
    progress = progress or Silent()
    study = study.replace(data_id=_prepared(study, progress))
    if strategy is None and not strategy_options and has_table(study):
        study = study.replace(strategy=StrategyChoice.from_dict({"name": WARM}))
    folder = Path(out) if out is not None else _claimed(_default_folder(study))
    study.create(folder)
    return run_study(study, folder, progress)


def _settled(seed: int) -> dict[str, object]:
    """A new study's fields that are no arguments. Final seeds differ from the search's own, by which it selected."""
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
    finals: int | None = None,
) -> StudyResult:
    """Resume the study in `folder`; finished trials are kept.

    `time_limit` (seconds) counts from now; without it a search that began with one has what is left of its own.
    `data`: where its images lie now, if not where the study says. `strategy`: the corrected file and function of a
    study with a strategy of the user's own. `finals`: so many further final trainings, where the race between the
    finalists is not decided. These three are written to study.toml. UserError where the study cannot be resumed so.
    """
    require("whole number", finals=finals)
    require("number", time_limit=time_limit)
    study = Study.open(folder)
    study = study.replace(runner=study.runner.with_priority(priority))
    if data is not None:
        study = study.replace(data=data_spec(str(data), DATASETS))
    if strategy is not None:
        study = study.replace(strategy=study.strategy.corrected(strategy))
        study.strategy.check()
    checks.require_data(study, folder)
    study.runner.require_device()
    progress = progress or Silent()
    data_id = _prepared(study, progress)
    if study.data_id is not None and data_id != study.data_id:
        raise UserError(
            f"{study.data}: its images have changed since the study began, or are others; name those with `nasbench "
            f"resume {folder} --data DIR`, or start a new study with --out"
        )
    if finals is not None:
        study = study.with_more_finals(finals)
    if data is not None or strategy is not None or finals is not None:
        study.write(folder)
    limit = study.time_limit_s if time_limit is None and study.open_ended else time_limit
    study = study.replace(data_id=data_id, time_limit_s=limit)
    return run_study(study, Path(folder), progress, more_time=time_limit is not None)


def _prepared(study: Study, progress: Progress) -> str:
    """Decode the images once, before any worker needs them -> the data set's id."""
    from nasbench.proxy.evaluate import prepare

    progress.update(ProgressState("preparing images"))
    sizes = read_space(study.space.content, study.space.name).resolution
    ids = {
        prepare(study.data, rung.fidelity, sizes, study.data_seed, study.objective.name).id
        for rung in study.ladder.rungs
    }
    return ids.pop()


def _claimed(wanted: Path) -> Path:
    """A new folder of this name, or of the first of `NAME-2`, `NAME-3`, ... that does not exist."""
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


def _default_folder(study: Study) -> Path:
    """results/SPACE-BUDGETS-TIME below the current folder."""
    words = [study.space.name, *map(str, study.budgets), datetime.now().strftime("%Y%m%d-%H%M%S")]
    return Path("results") / "-".join(word.replace(" ", "").replace("/", "-") for word in words)
