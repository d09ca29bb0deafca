"""A table of trained designs as a search's prior, corrected by the search's own trials."""

from __future__ import annotations

import itertools
import math
import threading
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import cached_property, partial

from nasbench.arch.architecture import Architecture
from nasbench.costs.budget import on_cost
from nasbench.errors import UserError
from nasbench.space import SearchSpace
from nasbench.strategies.context import Expected, Informed
from nasbench.strategies.warm import WarmSettings, bred_pool
from nasbench.study.fidelity import Fidelity
from nasbench.study.notes import LongNote
from nasbench.study.store import TrialStore
from nasbench.study.study import Study
from nasbench.surrogate.cokriging import Prediction
from nasbench.surrogate.prior import Agreement, Corrected, Prior
from nasbench.table.loading import load_table
from nasbench.table.rows import LONG_RUNG
from nasbench.table.table import Table

COLD, WARM = "evolution", "warm"  # the default strategies without a table and with one
SEEDS_APART = 100  # far enough to miss the final seeds, which follow the search's own
LEAST_TRUST = 0.5  # in a table, below which a search does without it
LEAST_TIMES = 2  # the training that decides: what is called long training
# Designs with long training, from which on a search goes by it, too: 23, none of them small, misled one of two
# searches, to small designs (results/search).
ENOUGH_LONG = 40
ENOUGH_DESIGNS = 100  # a surrogate of 74 misled searches, the picks of one of 168 were confirmed (results/search)


class Known:
    """A table as `strategies.context.Knowledge`, for trials at `fidelity`.

    `target` is the fidelity at which accuracy is what a search goes by, `late` that of long training, or the target
    where the table has too little of it.
    """

    def __init__(self, table: Table, fidelity: Fidelity, other_images: str = "") -> None:
        """`other_images`: the data set that its designs were trained on, where it is not the search's."""
        self.table, self.other_images = table, other_images
        self.prior = Prior(table.surrogate, fidelity)
        self.target, self.late = _aims(table)
        self.designs = tuple(table.current.architectures.values())

    def at(self, fidelity: Fidelity) -> Known:
        """The same for trials at another fidelity."""
        return Known(self.table, fidelity, self.other_images)

    def before(self, designs: Sequence[Architecture]) -> Expected:
        return Expected(*self.table.surrogate.predict(designs, self.target))

    def after(self, seen: Sequence[Architecture], accuracies: Sequence[float]) -> Informed:
        """Expected accuracy given the trials `seen`: that at `fidelity`, corrected by the trials, and as far as the
        table is trusted what it makes of that at the target and late."""
        corrected = self.prior.corrected(seen, accuracies)
        trust = corrected.agreement.trust

        def at(fidelity: Fidelity, designs: Sequence[Architecture]) -> Expected:
            here = self._here(corrected, seen, designs)
            there = corrected.surrogate.after(designs, corrected.fidelity, here, fidelity)
            return Expected(here.mean + trust * (there.mean - here.mean), here.std + trust * (there.std - here.std))

        def now(designs: Sequence[Architecture]) -> Expected:
            return Expected(*self._here(corrected, seen, designs))

        return Informed(partial(at, self.target), now, partial(at, self.late), trust)

    def long_training(
        self, seen: Sequence[Architecture], accuracies: Sequence[float], designs: Sequence[Architecture]
    ) -> Prediction | None:
        """Accuracy of `designs` after long training, given these trials at `fidelity`. None where the table has no long
        training of these images, or the trials contradict it."""
        if self.other_images or LONG_RUNG not in self.table.rungs:
            return None
        corrected = self.prior.corrected(seen, accuracies)
        if corrected.agreement.trust < LEAST_TRUST:
            return None
        return corrected.surrogate.after(designs, corrected.fidelity, self._here(corrected, seen, designs))

    def agreement(self, seen: Sequence[Architecture], accuracies: Sequence[float]) -> Agreement:
        """How far the trials so far agree with the table."""
        return self.prior.corrected(seen, accuracies).agreement

    def fresh_seed(self, arch: Architecture, fidelity: Fidelity, seed: int) -> int:
        """`seed`, or a later one with which the table has no training of the design: a repeated training would count
        twice."""
        used = self._seeds.get((arch.id, fidelity.id), set())
        return next(each for each in itertools.count(seed, SEEDS_APART) if each not in used)

    def _here(self, corrected: Corrected, seen: Sequence[Architecture], designs: Sequence[Architecture]) -> Prediction:
        """Accuracy of `designs` at the trials' fidelity, given those of `seen`. Where the table has trained a design
        there itself, on the search's images, its word counts as far as it is trusted: what trials of other designs let
        doubt about its predictions does not concern what it has measured."""
        posterior, trust = corrected.of(designs), corrected.agreement.trust
        mean, std = posterior.mean.copy(), posterior.std.copy()
        own = {arch.id for arch in seen}
        known = [
            place
            for place, arch in enumerate(designs)
            if arch.id not in own and (arch.id, corrected.fidelity.id) in self._seeds
        ]
        told = self.table.surrogate.predict([designs[place] for place in known], corrected.fidelity)
        mean[known] += trust * (told.mean - mean[known])
        std[known] += trust * (told.std - std[known])
        return Prediction(mean, std)

    @cached_property
    def _seeds(self) -> dict[tuple[str, str], set[int]]:
        """Of the trainings on the search's own images, by design and fidelity."""
        found: dict[tuple[str, str], set[int]] = defaultdict(set)
        for row in () if self.other_images else self.table.content:
            found[(row.architecture_id, row.fidelity)].add(row.seed)
        return found

    def __str__(self) -> str:
        images = f" on {self.other_images}" if self.other_images else ""
        return f"table {self.table.source}: {len(self.table.current)} trainings of {len(self.designs)} designs{images}"


def _aims(table: Table) -> tuple[Fidelity, Fidelity]:
    """The fidelity that a search goes by, and that of long training.

    Where too few designs had long training both are that of the table's highest rung, by which the search decides; else
    the first is the middle, in the logarithm of samples, between the two: by the surrogate accuracy there is the mean
    of both. Long training alone would be a poor guide: all good designs end within a point or two, less than a
    surrogate can tell, and a search that went by it lost its race (results/search).
    """
    long = {row.architecture_id for row in table.content if row.rung == LONG_RUNG}
    shorter = {row.fidelity for row in table.content if row.rung != LONG_RUNG}
    longest = table.surrogate.long
    highest = max((table.fidelities[key] for key in shorter), key=lambda one: one.samples, default=longest)
    if len(long) < ENOUGH_LONG:
        return highest, highest
    return longest.replace(samples=round(math.sqrt(highest.samples * longest.samples))), longest


def check_table(study: Study) -> None:
    """Raise UserError where a study's strategy needs a table, and there is none or it lacks the study's objective."""
    _table_of(study)


def has_table(study: Study) -> bool:
    """Whether a table holds enough trainings of a study's space by its recipe to start from.

    They may be on other images: rankings of designs mostly transfer (results/transfer), and the search's own trials
    soon show where they do not.
    """
    if not study.by_accuracy:
        return False
    try:
        table = _of_its_images(load_table(study.space.name), study.data_id)
    except UserError:
        return False
    recipe = study.ladder.rungs[0].fidelity.recipe
    rows = (row for row in table.content if table.fidelities[row.fidelity].recipe == recipe)
    return len({row.architecture_id for row in rows}) >= ENOUGH_DESIGNS


def known_before(study: Study) -> Known | None:
    """The table that the study's strategy starts from, fitted; None where it asks for none."""
    table = _table_of(study)
    if table is None:
        return None
    alike = _of_its_images(table.current, study.data_id)
    images = next(iter(alike.content))
    other = "" if images.data_id == study.data_id else images.data
    return Known(alike, study.ladder.rungs[0].fidelity, other)


def breed_meanwhile(study: Study, space: SearchSpace, known: Known) -> None:
    """Breed the strategy's candidates in a thread while the published networks train, which come first."""
    settings = study.strategy.settings
    assert isinstance(settings, WarmSettings)
    wanted = (space, known, on_cost(study.budgets), study.classes, settings.pool)
    threading.Thread(target=bred_pool, args=wanted, daemon=True, name="breeding").start()


def note_long_training(study: Study, known: Known, store: TrialStore) -> None:
    """Store what the table expects, after long training, of the designs that a search has trained at its highest rung;
    nothing where it cannot tell."""
    trials = [each for each in store.trials if each.complete and each.origin.rung == study.ladder.top]
    own = [each for each in trials if each.trained_here]
    designs = {each.architecture_id: each.design for each in trials}
    scores = [each.metric(study.objective.metric) for each in own]
    several = {row.fidelity for row in known.table.content if row.rung == LONG_RUNG}
    if not own or len(several) != 1:  # none, or of several lengths, of which none is the long one
        return
    top, long = study.ladder.rungs[-1].fidelity, known.table.fidelity(LONG_RUNG)
    times = round(long.samples / top.samples)
    if times < LEAST_TIMES or long.recipe != top.recipe:
        return
    found = known.at(top).long_training([each.design for each in own], scores, list(designs.values()))
    if found is not None:
        expected = dict(zip(designs, zip(found.mean.tolist(), found.std.tolist())))
        store.note(LongNote(table=known.table.source, times=times, expected=expected))


def _table_of(study: Study) -> Table | None:
    settings = study.strategy.settings
    if not isinstance(settings, WarmSettings):
        return None
    if not study.by_accuracy:
        raise UserError(
            f"strategy 'warm' with objectives {', '.join(study.objectives)}: tables hold accuracies alone; use "
            "--strategy evolution"
        )
    return load_table(settings.table or study.space.name)


def _of_its_images(table: Table, data_id: str | None) -> Table:
    """The rows of one set of images: the study's own if these are of enough designs, else the one with most designs."""
    designs = Counter(images for images, _ in {(row.data_id, row.architecture_id) for row in table.content})
    if not designs:
        raise UserError(f"{table.source}: no training that counts today; collect some with `nasbench table collect`")
    own = data_id is not None and designs[data_id] >= min(ENOUGH_DESIGNS, max(designs.values()))
    return table.where(data_id=data_id if own else max(sorted(designs), key=designs.__getitem__))
