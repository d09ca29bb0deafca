"""Whether the level at which a front is taken was interrupted.

Where a study stops within a level, some of the designs promoted to it have a score there and the others only that of
the level below. Scores of two levels are not comparable, so the front is that of the first, by their new scores, and
the rest of the front of the level below, marked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from nasbench.study.notes import PromotionNote
from nasbench.study.study import Study
from nasbench.study.trials import Level, Trial

Promoted = Mapping[str, Sequence[str]]  # a level's name -> the keys of the trials below that were promoted to it


def promoted_by(notes: Iterable[PromotionNote]) -> Promoted:
    """The latest decision on each level."""
    return {note.level: note.chosen for note in notes}


def ended_at(level: Level, trials: Iterable[Trial]) -> set[str]:
    """The architectures of which a training at `level` has ended, well or not."""
    return {trial.architecture_id for trial in trials if trial.level == level and trial.finished}


def is_interrupted(level: Level, trials: Sequence[Trial], promoted: Promoted, study: Study) -> bool:
    """Whether a design promoted to `level` has no finished training there.

    Promotions are noted in the store; without a note their planned number decides. Asynchronous ones are noted once the
    level below has ended; until then more may follow.
    """
    below, ended = level.below, ended_at(level, trials)
    if below is None:
        return False
    complete = {trial.key: trial.architecture_id for trial in trials if trial.level == below and trial.complete}
    if study.asynchronous and level.name not in promoted:
        return True
    if level.name in promoted:
        return any(complete[key] not in ended for key in promoted[level.name] if key in complete)
    return len(ended) < min(study.places(level, len(complete)), len(complete))
