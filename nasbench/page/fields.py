"""Which fields of the space matter for a study's score and latencies, as values of the page."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from nasbench.errors import UserError
from nasbench.importance.estimate import Importances
from nasbench.importance.samples import Scored, importances_of, latency_of_study, of_study
from nasbench.report.results import StudyResult
from nasbench.space import SearchSpace
from nasbench.table.loading import load_table
from nasbench.table.table import Table

SHOWN = 8  # fields a table
DRAWS = 20  # bootstraps: half of what `nasbench space importance` takes, since the page is made at a search's end
MOST_DESIGNS = 300  # a forest over more takes longer than the rest of the page; so many are taken by their ids


def fields_that_matter(result: StudyResult) -> list[dict[str, Any]]:
    """One record a score, from the study's trials and comparable trainings of a table; or why there is none."""
    space = SearchSpace.from_dict(result.study.space.content, str(result.folder))
    scores = (of_study(result, _table(result)), latency_of_study(result))
    return [_record(space, scored) for scored in scores]


def _table(result: StudyResult) -> Table | None:
    try:
        return load_table(result.study.space.name)
    except UserError:  # this space has none
        return None


def _record(space: SearchSpace, scored: Scored) -> dict[str, Any]:
    try:
        found = _found(_Query(space, _some(scored)))
    except UserError as error:  # too few designs, or all alike
        return {"score": scored.score, "told": str(error), "fields": []}
    fields = [{**each._asdict(), "is_told": found.tells_apart(each)} for each in found.levers[:SHOWN]]
    return {"score": scored.score, "told": found.told, "fields": fields}


def _some(scored: Scored) -> Scored:
    """At most `MOST_DESIGNS` of them, always the same."""
    order = sorted(range(len(scored.designs)), key=lambda at: scored.designs[at].id)[:MOST_DESIGNS]
    return Scored(scored.score, tuple(scored.designs[at] for at in order), tuple(scored.values[at] for at in order))


class _Query:
    """A space and the scores of designs, with the equality that `_found` is cached by: names do not count."""

    def __init__(self, space: SearchSpace, scored: Scored) -> None:
        self.space, self.scored = space, scored
        self._key = (space.id, scored.score, tuple(arch.id for arch in scored.designs), scored.values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Query) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


@lru_cache(maxsize=8)
def _found(query: _Query) -> Importances:
    return importances_of(query.space, query.scored, draws=DRAWS)
