"""Scale a design to a target: find the size along a rule, then change single widths to correct what rounding did."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from nasbench.arch.architecture import Architecture
from nasbench.costs.budget import Budget
from nasbench.errors import UserError
from nasbench.scaling.resize import STEM, channel_step, deeper, fresh, resize, width_knobs, with_channels
from nasbench.scaling.rules import Rule

TOLERANCE = 0.02  # share of the target by which a design may be off
LEAST = 0.982  # widths are changed until the value is between this share of the target and the target
AIM = 0.991  # share of the target that changes approach
FARTHEST = 9.0  # ln(scale) up to which the solution is searched
PRECISION = 4e-3  # of the solution, in ln(scale)
STARTS = (0.0, -0.06, 0.06, -0.12, 0.12, -0.25, 0.25)  # in ln(scale) about the solution; each rounds differently
SMALL_TRIM = 0.08  # no further start is tried once one fits with a trim up to this
ENOUGH_STARTS = 3  # nor after so many starts once any fits
FINE_STEPS = (-4, -3, -2, -1, 1, 2, 3, 4)  # in steps of at most 4 channels
EXPANSION_STEPS = (-1 / 16, -1 / 32, 1 / 32, 1 / 16)  # relative changes of all expansion ratios
MOVES = 16  # changes made one after another
MAX_TRIM = 0.45  # largest change of a width from what the rule gives, in ln
Measure = Callable[[Architecture], float]


@dataclass(frozen=True)
class Scaled:
    """`arch` made from `base`; `value` is its figure of the target's metric, analytic or predicted.

    scale: the rule's multiplier of cost. trim: the largest change of a width (in ln) made after rounding.
    """

    base: Architecture
    arch: Architecture
    rule: Rule
    target: Budget
    value: float
    scale: float
    trim: float

    @property
    def off(self) -> float:
        """Share by which the value is above the target; negative where it is below."""
        return self.value / self.target.limit - 1

    @property
    def fits(self) -> bool:
        return abs(self.off) <= TOLERANCE


def scale_to(arch: Architecture, target: Budget, rule: Rule, measure: Measure) -> Scaled:
    """`arch` scaled along `rule` so that `measure` is within 2 % of the target, and not above it where possible.

    UserError with the nearest value where the design cannot get there.
    """
    scale = _solve(arch, target, rule, measure)
    attempts: list[Scaled] = []
    for number, shift in enumerate(STARTS):
        fitting = [attempt.trim for attempt in attempts if attempt.fits]
        if fitting and (min(fitting) <= SMALL_TRIM or number >= ENOUGH_STARTS):
            break
        attempts.append(_attempt(arch, target, rule, measure, scale * math.exp(shift)))
    best = min(attempts, key=lambda attempt: (not attempt.fits, abs(attempt.off) if not attempt.fits else attempt.trim))
    if best.arch.problem():
        raise UserError(f"{arch.label} to {target}: {best.arch.problem()}")
    if not best.fits:
        raise UserError(
            f"{arch.label} to {target}: the nearest design along rule {rule.name!r} has {target.show(best.value)}, "
            f"{best.off:+.1%}; choose another target, or another --rule"
        )
    return best


def _attempt(arch: Architecture, target: Budget, rule: Rule, measure: Measure, scale: float) -> Scaled:
    """The design resized to `scale` and trimmed to the target."""
    start = resize(arch, rule.factors(scale))
    found = _trimmed(start, arch, target, measure)
    named = fresh(found.model_copy(update={"name": scaled_name(arch, target)}))
    return Scaled(arch, named, rule, target, measure(named), scale, _moved(start, named))


def scaled_name(arch: Architecture, target: Budget) -> str:
    """`emo_5m-2GFLOP`."""
    return f"{arch.label}-{str(target).replace(' ', '')}"


def _solve(arch: Architecture, target: Budget, rule: Rule, measure: Measure) -> float:
    """The scale at which the rounded design crosses the target, by bisection on ln(scale)."""
    value = {scale: measure(resize(arch, rule.factors(scale))) for scale in (0.25, 1.0, 4.0)}
    if value[4.0] == value[0.25]:
        raise UserError(f"{arch.label} to {target}: rule {rule.name!r} does not change {target.metric}; choose another")
    guess = math.log(target.limit / value[1.0])

    def above(log_scale: float) -> bool:
        return measure(resize(arch, rule.factors(math.exp(log_scale)))) > target.limit

    low, high, width = guess, guess, 0.5
    while above(low) and low > -FARTHEST:
        low, width = low - width, 2 * width
    width = 0.5
    while not above(high) and high < FARTHEST:
        high, width = high + width, 2 * width
    while high - low > PRECISION:
        middle = (low + high) / 2
        low, high = (low, middle) if above(middle) else (middle, high)
    return math.exp(low)


def _trimmed(start: Architecture, base: Architecture, target: Budget, measure: Measure) -> Architecture:
    """`start` changed until its value is inside the target: by single steps of a width, pairs of them, or fine steps.

    Each move takes the first kind of step that brings the value nearer; ends where none does.
    """
    current, value = start, measure(start)
    for _ in range(MOVES):
        if _inside(value, target):
            break
        best = _best_step(list(_steps(current, start, base)), start, target, measure)
        if best is None or _gap(best[0], target) >= _gap(value, target):
            pairs = [far for near in _steps(current, start, base) for far in _steps(near, start, base)]
            best = _best_step(pairs, start, target, measure)
        if best is None or _gap(best[0], target) >= _gap(value, target):
            best = _best_step(list(_fine_steps(current, start, base)), start, target, measure)
        if best is None or _gap(best[0], target) >= _gap(value, target):
            break
        value, current = best
    return current


def _best_step(
    options: list[Architecture], start: Architecture, target: Budget, measure: Measure
) -> tuple[float, Architecture] | None:
    """(value, option) inside the target that changed widths least, else nearest to the target; None of no options."""
    valued = [(measure(arch), arch) for arch in options]
    inside = [option for option in valued if _inside(option[0], target)]
    if inside:
        return min(inside, key=lambda option: _moved(start, option[1]))
    return min(valued, key=lambda option: _gap(option[0], target), default=None)


def _inside(value: float, target: Budget) -> bool:
    """Whether a value is near enough: at most the target, and at least LEAST of it."""
    return LEAST <= value / target.limit <= 1


def _gap(value: float, target: Budget) -> float:
    """Distance from AIM of the target, in ln."""
    return abs(math.log(value / (AIM * target.limit)))


def _steps(arch: Architecture, start: Architecture, base: Architecture) -> Iterator[Architecture]:
    """Designs with one width a step up or down, within MAX_TRIM of `start`."""
    for index in width_knobs(base):
        for direction in (1, -1):
            changed = _step(arch, base, index, direction)
            if changed is not None and _moved(start, changed) <= MAX_TRIM:
                yield fresh(changed)  # without the cached network of `arch`


def _fine_steps(arch: Architecture, start: Architecture, base: Architecture) -> Iterator[Architecture]:
    """Finer changes than `_steps`: up to one block more or fewer, alone or with another expansion ratio or a fine step
    of one width."""
    deep = [arch, *(deeper(arch, i, d) for i, stage in enumerate(base.stages) if stage.depth > 2 for d in (1, -1))]
    for variant in deep:
        if variant is None:
            continue
        yield fresh(variant)
        yield from (fresh(_expanded(variant, share)) for share in EXPANSION_STEPS)
        for index in width_knobs(base):
            for steps in FINE_STEPS:
                own = _channels(base, index)
                wanted = _channels(variant, index) + steps * channel_step(own, fine=True)
                changed = with_channels(variant, base, index, max(1, wanted), fine=True)
                if changed is not None and _moved(start, changed) <= MAX_TRIM:
                    yield fresh(changed)


def _expanded(arch: Architecture, share: float) -> Architecture:
    """`arch` with all expansion ratios times 1 + `share`; channels between blocks stay."""
    stages = tuple(stage.model_copy(update={"expansion": stage.expansion * (1 + share)}) for stage in arch.stages)
    return arch.model_copy(update={"stages": stages})


def _step(arch: Architecture, base: Architecture, index: int, direction: int) -> Architecture | None:
    """`arch` with the next larger (direction 1) or smaller (-1) width in one stage that it can have; None without."""
    now, step = _channels(arch, index), channel_step(_channels(base, index))
    for multiple in (1, 2, 4):
        changed = with_channels(arch, base, index, max(1, now + direction * multiple * step))
        if changed is not None and direction * (_channels(changed, index) - now) > 0:
            return changed
    return None


def _channels(arch: Architecture, index: int) -> int:
    return arch.stem.channels if index == STEM else arch.stages[index].channels


def _moved(start: Architecture, end: Architecture) -> float:
    """The largest change of a width between two designs of one family, in ln."""
    pairs: Sequence[tuple[int, int]] = [
        (start.stem.channels, end.stem.channels),
        *((a.channels, b.channels) for a, b in zip(start.stages, end.stages)),
    ]
    return max(abs(math.log(b / a)) for a, b in pairs)
