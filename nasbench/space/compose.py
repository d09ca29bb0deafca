"""Choosing every value of an architecture so that it lies in its space: nothing is drawn and then thrown away.

A genotype is a tuple of plain dicts: the resolution, the stem, one for each slot of the space (`{"depth": 0}` for an
absent stage), the head; only with the fields that the space sees for its block.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nasbench.space.boxes import Box, Group, Step
from nasbench.space.paths import State

Genotype = tuple[dict[str, Any], ...]
Pick = Callable[[Sequence[Any], "Sequence[float] | None"], Any]


class DeadEnd(Exception):
    """The forced value does not fit what was chosen before it."""


def first_of(options: Sequence[Any], weights: Sequence[float] | None = None) -> Any:
    """Picks the first option, as the file lists them."""
    return options[0]


def random_pick(rng: np.random.Generator) -> Pick:
    """Picks uniformly, or in proportion to the weights."""

    def pick(options: Sequence[Any], weights: Sequence[float] | None = None) -> Any:
        if len(options) == 1:
            return options[0]
        if weights is None:
            return options[int(rng.random() * len(options))]
        bounds = np.cumsum(np.asarray(weights, float))
        return options[int(np.searchsorted(bounds, rng.random() * bounds[-1], side="right"))]

    return pick


@dataclass
class Composer:
    """Chooses part after part. A forced value is taken or the attempt ends; a wish is met where it can be.

    `forced` holds values for one part, `part`. Wishes that cannot be met give way to the nearest number, or to `pick`.
    """

    space: Any  # the SearchSpace
    pick: Pick
    wishes: Genotype = ()
    part: int = -1
    forced: Mapping[str, Any] = field(default_factory=dict)

    def compose(self) -> Genotype | None:
        try:
            return self._compose()
        except DeadEnd:
            return None

    def _compose(self) -> Genotype:
        stem = self._from_table(1, [stem for stem in self.space.stems if self._leads_on(stem)])
        state, stages = self.space.start(stem), []
        for index in range(len(self.space.slots)):
            values, state = self._stage(index, state)
            stages.append(values)
        head = self._from_table(len(stages) + 2, self.space.heads(state.channels, state.tokens))
        resolutions = [{"resolution": value} for value in self.space.resolutions_for(state.stride)]
        return (self._from_table(0, resolutions), stem, *stages, head)

    def _leads_on(self, stem: Mapping[str, Any]) -> bool:
        return self.space.paths.weight(0, self.space.start(stem)) > 0

    def _forced_at(self, part: int) -> Mapping[str, Any]:
        return self.forced if part == self.part else {}

    def _wish_at(self, part: int) -> Mapping[str, Any]:
        return self.wishes[part] if self.wishes else {}

    def _from_table(self, part: int, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """One of `rows`, chosen key by key."""
        forced, wish = self._forced_at(part), self._wish_at(part)
        rows = [row for row in rows if all(row.get(name) == value for name, value in forced.items())]
        for name in dict.fromkeys(name for row in rows for name in row):
            options = list(dict.fromkeys(row.get(name) for row in rows))
            chosen = self._choose(name, options, wish)
            rows = [row for row in rows if row.get(name) == chosen]
        if not rows:
            raise DeadEnd
        return rows[0]

    def _choose(
        self, name: str, options: Sequence[Any], wish: Mapping[str, Any], weights: Sequence[float] | None = None
    ) -> Any:
        """The wished value, else the nearest number, else a pick."""
        if name not in wish:
            return self.pick(options, weights)
        wanted = wish[name]
        if wanted in options:
            return wanted
        if _is_number(wanted) and all(map(_is_number, options)):
            return min(options, key=lambda value: abs(value - wanted))
        return self.pick(options, weights)

    def _stage(self, index: int, state: State) -> tuple[dict[str, Any], State]:
        slot, part = self.space.slots[index], index + 2
        forced, wish = self._forced_at(part), self._wish_at(part)
        steps = self._open_steps(index, state, forced)
        may_skip = slot.optional and self.space.paths.weight(index + 1, state) > 0 and forced.get("depth", 0) == 0
        if may_skip and set(forced) <= {"depth"} and (forced or not steps or self._skips(slot, wish)):
            return {"depth": 0}, state
        if not steps:
            raise DeadEnd
        step = self._step(steps, wish)
        boxes = [box for box in slot.boxes(state.channels, state.first, step) if not forced or box.offers(forced)]
        return self._stage_values(boxes, forced, wish), state.after(step)

    def _skips(self, slot: Any, wish: Mapping[str, Any]) -> bool:
        if "depth" in wish:
            return wish["depth"] == 0
        return self.pick((True, False), (1, len(slot.depths)))

    def _open_steps(self, index: int, state: State, forced: Mapping[str, Any]) -> dict[Step, float]:
        steps = self.space.paths.steps(index, state)
        if not forced:
            return steps
        slot = self.space.slots[index]
        open_to = lambda step: slot.boxes(state.channels, state.first, step)  # noqa: E731
        return {step: weight for step, weight in steps.items() if any(box.offers(forced) for box in open_to(step))}

    def _step(self, steps: Mapping[Step, float], wish: Mapping[str, Any]) -> Step:
        """Channels in proportion to their weights (`Paths.steps`); then the rest."""
        totals: dict[int, float] = {}
        for step, weight in steps.items():
            totals[step.channels] = totals.get(step.channels, 0.0) + weight
        channels = self._choose("channels", list(totals), wish, list(totals.values()))
        left = [step for step in steps if step.channels == channels]
        stride = self._choose("stride", list(dict.fromkeys(step.stride for step in left)), wish)
        tokens = [step.tokens for step in left if step.stride == stride]
        wanted = {"tokens": wish.get("tokens", 0)} if wish else wish  # a wish for a block without any is one for none
        return Step(channels, stride, self._choose("tokens", tokens, wanted))

    def _stage_values(self, boxes: list[Box], forced: Mapping[str, Any], wish: Mapping[str, Any]) -> dict[str, Any]:
        for name in ("block", "downsample"):
            value = self._choose(name, list(dict.fromkeys(box.shared[name] for box in boxes)), wish)
            boxes = [box for box in boxes if box.shared[name] == value]
        depths = dict.fromkeys(depth for box in boxes for depth in box.depths)
        depth = forced["depth"] if "depth" in forced else self._choose("depth", list(depths), wish)
        boxes = [box for box in boxes if depth in box.depths]
        if not boxes:
            raise DeadEnd
        attention = self._choose("attention", [box.shared.get("attention") for box in boxes], wish)
        box = next(box for box in boxes if box.shared.get("attention") == attention)
        values = {**box.shared, "depth": depth}
        for group in box.groups:
            values.update(zip(group.fields, self._group_values(group, forced, wish)))
        return values

    def _group_values(self, group: Group, forced: Mapping[str, Any], wish: Mapping[str, Any]) -> tuple[Any, ...]:
        names = group.fields
        options = [
            values
            for values in group.options.values()
            if all(values[names.index(name)] == value for name, value in forced.items() if name in names)
        ]
        if wish:
            met = [sum(name in wish and wish[name] == value for name, value in zip(names, row)) for row in options]
            options = [row for row, number in zip(options, met) if number == max(met)]
        return self.pick(options, None)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
