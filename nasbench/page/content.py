"""All that the page shows, as one JSON value."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nasbench import __version__
from nasbench.auditing.confirmation import Confirmation
from nasbench.latency.names import THIS_MACHINE
from nasbench.page.answers import band_records, headline
from nasbench.page.comparison import comparisons
from nasbench.page.designs import cards, design_records
from nasbench.page.fields import fields_that_matter
from nasbench.page.growth import growth
from nasbench.page.ranking import audits, between_levels
from nasbench.report.bands import latency_bands
from nasbench.report.results import StudyResult
from nasbench.report.rows import ReportRow
from nasbench.report.tables import closing_text
from nasbench.report.wording import after_long_training
from nasbench.study import environment
from nasbench.study.study import Study
from nasbench.study.trials import Level, State, Trial

# The table in the terminal marks such predictions with a sign; the page has no such mark.
UNLIKE = "Some predicted latencies are of networks unlike"


def page_content(results: Sequence[StudyResult]) -> dict[str, Any]:
    """All that the template and the scripts read. Scores are shares of 1, latencies milliseconds."""
    names = study_names(results)
    return {
        "nasbench": __version__,
        "studies": [study_content(result, name) for result, name in zip(results, names)],
        "comparisons": comparisons(results, names),
    }


def study_names(results: Sequence[StudyResult]) -> list[str]:
    """The folders' names, with as much of the path before them as tells them apart."""
    paths = [result.folder.resolve() for result in results]
    for count in range(1, max((len(path.parts) for path in paths), default=1) + 1):
        names = ["/".join(path.parts[-count:]) for path in paths]
        if len(set(names)) == len(names):
            break
    return names


def study_content(result: StudyResult, name: str) -> dict[str, Any]:
    """One study."""
    study, rows = result.study, result.rows()
    bands = latency_bands(rows)
    by_design: dict[str, Trial] = {}
    for trial in result.trials:
        if trial.complete:
            by_design.setdefault(trial.architecture_id, trial)
    words = rows[0].words if rows else study.objective
    return {
        "name": name,
        "folder": str(result.folder),
        "title": result.title(),
        "device": study.device,
        "about": _about(result, words.noun),
        "words": {"noun": words.noun, "unit": words.unit, "axis": words.axis},
        "budgets": [str(budget) for budget in study.budgets],
        "headline": headline(bands),
        "bands": band_records(bands, _after_long_training(result, rows)),
        "conclusion": [line.replace("!: unlike", UNLIKE) for line in closing_text(rows)] + result.standing_lines(),
        "levels": _levels(result),
        "designs": design_records(result, by_design, {row.id for row in rows if row.on_front}),
        "points": points(result, list(by_design)),
        "latency": _latency_summary(rows),
        "growth": _growth(result),
        "ranking": {"levels": between_levels(result.trials, study.objective.metric), "audits": audits(result)},
        "fields": fields_that_matter(result),
        "rejected": _rejected(result),
        "failed": _failed(result.trials),
        "cards": cards(result, rows),
        "provenance": _provenance(result),
    }


def _after_long_training(result: StudyResult, rows: Sequence[ReportRow]) -> dict[str, list[str]]:
    """By id of a design, what `confirm` found of it, else what the search's table expects."""
    expected = {key: [line] for key, line in after_long_training(rows).items()}
    return expected | Confirmation.read(result).told()


def _about(result: StudyResult, noun: str) -> str:
    """What was searched, where its latencies come from and what its scores are, in two sentences."""
    study = result.study
    within = f" within {' and '.join(map(str, study.budgets))}" if study.budgets else ""
    runs = [_run(run) for run in environment.read(result.folder) if isinstance(run, Mapping)]
    cpu = runs[-1]["machine"].partition(",")[0] if runs else ""
    device = (
        "the machine that searched" + (f" ({cpu})" if cpu else "") if study.device == THIS_MACHINE else study.device
    )
    return (
        f"Search of {study.space.name}{within} on {Path(study.data).name}; latency on {device}. {noun.capitalize()} is "
        "that of a short training of a reduced design: it ranks designs, and is no ImageNet figure."
    )


def _levels(result: StudyResult) -> list[dict[str, Any]]:
    """The levels at which anything was trained, lowest first."""
    counts = Counter(trial.level for trial in result.trials if trial.complete)
    return [
        {"label": _label(level, result.study), "final": level.final, "rung": level.rung, "trials": counts[level],
         "split": "test" if level.final else "validation", "samples": _samples(level, result)}
        for level in sorted(counts)
    ]  # fmt: skip


def _label(level: Level, study: Study) -> str:
    if level.final:
        return "final, fresh seeds"
    rungs = study.ladder.rungs
    named = rungs[level.rung].name if 0 <= level.rung < len(rungs) else "probe"
    return f"rung {level.rung}" + (f", {named}" if named else "")


def _samples(level: Level, result: StudyResult) -> int:
    return next(trial.fidelity.samples for trial in result.trials if trial.level == level)


def points(result: StudyResult, designs: Sequence[str]) -> list[list[Any]]:
    """[design, level, mean score, deviation over seeds or None, seeds]: one for each design at each level."""
    places = {key: place for place, key in enumerate(designs)}
    levels = sorted({trial.level for trial in result.trials if trial.complete})
    scores: dict[tuple[int, int], list[float]] = {}
    for trial in result.trials:
        if trial.complete:
            at = (places[trial.architecture_id], levels.index(trial.level))
            scores.setdefault(at, []).append(trial.metric(result.study.objective.metric))
    return [
        [design, level, round(statistics.fmean(found), 6), round(statistics.stdev(found), 6) if found[1:] else None,
         len(found)]
        for (design, level), found in scores.items()
    ]  # fmt: skip


def _latency_summary(rows: Sequence[ReportRow]) -> dict[str, Any]:
    """How far predictions were off where both figures are known, and how often the interval held the measured one."""
    pairs = [row for row in rows if row.latency_measured and row.latency_predicted]
    errors = [abs(row.latency_predicted / row.latency_measured - 1) for row in pairs]  # type: ignore[operator]
    inside = [
        row.latency_low <= row.latency_measured <= row.latency_high  # type: ignore[operator]
        for row in pairs
        if row.latency_low is not None and row.latency_high is not None
    ]
    return {
        "pairs": len(pairs),
        "median_error": statistics.median(errors) if errors else None,
        "worst_error": max(errors, default=None),
        "inside": sum(inside),
        "with_interval": len(inside),
    }


def _growth(result: StudyResult) -> dict[str, Any] | None:
    known = {trial.architecture_id for trial in result.trials}
    known &= result.predictions.keys() | result.measured_ms.keys()
    found = growth(result.trials, {key: result.latency_ms(key) for key in known}, result.study.objective.metric)
    if found is None:
        return None
    return {
        "hours": [round(value, 5) for value in found.hours],
        "share": [round(value, 6) for value in found.share],
        "published": round(found.published, 6),
    }


def _rejected(result: StudyResult) -> dict[str, Any] | None:
    """Designs that runs rejected, by rule; None where no run stored that."""
    if not result.rejections:
        return None
    rules: Counter[str] = Counter()
    for note in result.rejections:
        rules.update(note.rejected)
    return {
        "drawn": sum(note.drawn for note in result.rejections),
        "accepted": sum(note.accepted for note in result.rejections),
        "rules": dict(rules.most_common()),
    }


def _failed(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """Failed trials by reason, the most frequent first."""
    reasons = Counter(trial.reason or "" for trial in trials if trial.state == State.FAILED)
    return [{"reason": reason, "trials": count} for reason, count in reasons.most_common()]


def _provenance(result: StudyResult) -> dict[str, Any]:
    study = result.study
    return {
        "facts": {
            "space": f"{study.space.name} ({study.space.id})",
            "images": f"{Path(study.data).name} ({study.data_name})",
            "device of the latencies": study.device,
            "strategy": study.strategy.name,
            "designs go on": "while their rung still trains" if study.asynchronous else "rung by rung",
            "seed": study.seed,
            "final seeds": ", ".join(map(str, study.final_seeds)),
            "classes of budgets and exports": study.classes,
            "nasbench": study.version,
            "commit": study.commit or "unknown",
        },
        "runs": [_run(run) for run in environment.read(result.folder) if isinstance(run, Mapping)],
    }


def _run(run: Mapping[str, object]) -> dict[str, str]:
    hardware = run.get("hardware")
    machine = hardware if isinstance(hardware, Mapping) else {}
    versions = run.get("versions")
    libraries = versions if isinstance(versions, Mapping) else {}
    return {
        "time": str(run.get("time", "")),
        "command": str(run.get("command", "")).replace("__main__.py ", "nasbench ", 1),
        "commit": str(run.get("commit") or "unknown"),
        "machine": ", ".join(str(machine[key]) for key in ("cpu", "system") if machine.get(key)),
        "cores": str(machine.get("cores", "")),
        "libraries": ", ".join(f"{name} {version}" for name, version in libraries.items()),
    }
