"""Budgets: a bound on one named metric, written with its unit, as in `1GFLOP`, `5Mparams`, `2MB`, `10ms` or `5mJ`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from nasbench.errors import UserError, shown

PREFIXES = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}
BINARY_PREFIXES = {"ki": 2.0**10, "mi": 2.0**20, "gi": 2.0**30}
SHOWN_PREFIXES = {"": "", "k": "K", "m": "M", "g": "G", "t": "T", "ki": "Ki", "mi": "Mi", "gi": "Gi"}

# Metric, unit as it is shown, spellings in lower case. One FLOP is one multiply-add, as fvcore and the papers count.
Counted = tuple[tuple[str, str, tuple[str, ...]], ...]
COUNTS: Counted = (
    ("flops", "FLOP", ("flop", "flops")),
    ("macs", "MAC", ("mac", "macs", "madd", "madds", "multadds", "multiplyadds")),
    ("params", "params", ("param", "params", "parameter", "parameters")),
    ("activations", "activations", ("act", "acts", "activation", "activations")),
)
BYTES: Counted = (
    ("weight_bytes", "B", ("b", "byte", "bytes", "bweight", "bweights")),
    ("peak_activation_bytes", "B peak", ("bpeak", "bytepeak", "bytespeak", "bpeakactivation", "bpeakactivations")),
    (
        "memory_bytes",
        "B memory",
        tuple(unit + word for unit in ("b", "byte", "bytes") for word in ("mem", "memory", "ram")),
    ),
)
SECONDS: tuple[tuple[float, str, tuple[str, ...]], ...] = (  # milliseconds in one unit, unit, spellings
    (1e-3, "us", ("us", "µs", "μs", "microsecond", "microseconds")),
    (1.0, "ms", ("ms", "msec", "msecs", "millisecond", "milliseconds")),
    (1e3, "s", ("s", "sec", "secs", "second", "seconds")),
)
JOULES: tuple[tuple[float, str, tuple[str, ...]], ...] = (  # joules in one unit, unit, spellings; no prefix above one
    (1e-6, "uJ", ("uj", "µj", "μj", "microjoule", "microjoules")),
    (1e-3, "mJ", ("mj", "millijoule", "millijoules")),
    (1.0, "J", ("j", "joule", "joules")),
)
LEAST, MOST = 1e-15, 1e24  # of a bound, in the metric's own unit: from a femtojoule to far beyond any machine's memory
MAX_CHARACTERS = 100
EXAMPLES = (
    "1GFLOP, 300MMAC, 5Mparams, 2MB (weights), 2MBpeak (activations), 10ms, 64MBmem (memory of running it) or 5mJ"
)
COST_METRICS = ("flops", "macs", "params", "activations", "weight_bytes", "peak_activation_bytes")
DEVICE_METRICS = ("latency_ms", "memory_bytes", "energy_j")  # that only a device's profile knows
RESOURCES = {  # of those, what a run takes besides time: noun, unit that suits a network, that in the metric's own
    "memory_bytes": ("memory", "MB", 1e6),
    "energy_j": ("energy", "mJ", 1e-3),
}
FIELDS = COST_METRICS + DEVICE_METRICS

_NUMBER = re.compile(
    r"([+-]?(?:\d[\d_]*(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?(?!,)|[+-]?(?:nan|inf(?:inity)?)(?![a-z]))([^\d,]*)", re.I
)


def _units() -> dict[str, tuple[str, float, str]]:
    """Every unit in lower case -> (metric, scale to the metric's own unit, unit as it is shown)."""
    units: dict[str, tuple[str, float, str]] = {}
    for metric, sign, spellings in COUNTS:
        for prefix, scale in PREFIXES.items():
            units.update({prefix + name: (metric, scale, SHOWN_PREFIXES[prefix] + sign) for name in spellings})
    for metric, sign, spellings in BYTES:
        for prefix, scale in (PREFIXES | BINARY_PREFIXES).items():
            units.update({prefix + name: (metric, scale, SHOWN_PREFIXES[prefix] + sign) for name in spellings})
    for milliseconds, sign, spellings in SECONDS:
        units.update(dict.fromkeys(spellings, ("latency_ms", milliseconds, sign)))
    for joules, sign, spellings in JOULES:
        units.update(dict.fromkeys(spellings, ("energy_j", joules, sign)))
    return units


UNITS = _units()


@dataclass(frozen=True)
class Budget:
    """An upper bound on one metric of an architecture's deploy form.

    `limit` is in the metric's own unit (counts, bytes, milliseconds, joules), `text` is what the user wrote and
    `unit` what the user counted in, so that figures can be shown the same way.
    """

    metric: str
    limit: float
    text: str
    unit: str

    @classmethod
    def parse(cls, text: str) -> Budget:
        """`text` is a number with a unit: 1GFLOP, 500 MFLOPs, 5Mparams, 10ms, 1.5 s, 2MB, 2MBpeak, 64MBmem, 5mJ."""
        match = _NUMBER.fullmatch(text.strip()) if isinstance(text, str) else None
        if match is None:
            raise UserError(
                f"budget {shown(text)}: a budget is a number with a unit (1.5, not 1,5); for example {EXAMPLES}"
            )
        number, unit = match[1].replace("_", ""), re.sub(r"[\s_-]", "", match[2])
        if len(text) > MAX_CHARACTERS:
            raise UserError(f"budget {shown(text)}: longer than any number with a unit; for example {EXAMPLES}")
        metric, scale, shown_unit = _known_unit(text, number, unit)
        limit = float(number) * scale
        if not (math.isfinite(limit) and limit > 0):
            raise UserError(f"budget {text!r}: the bound must be a finite number above zero; for example {EXAMPLES}")
        if not LEAST <= limit <= MOST:
            far = "below" if limit < LEAST else "above"
            raise UserError(f"budget {text!r}: {far} what any network or machine has; for example {EXAMPLES}")
        return cls(metric, limit, text.strip(), shown_unit)

    def violation(self, metrics: Mapping[str, float]) -> float:
        """By what share `metrics` exceed the limit: 0.0 where it is met, 0.25 for a quarter too much."""
        if self.metric not in metrics:
            given = ", ".join(sorted(metrics))
            raise ValueError(f"budget {self.text!r} needs the metric {self.metric!r}; given: {given}")
        value = float(metrics[self.metric])
        if math.isnan(value):
            raise ValueError(f"budget {self.text!r}: the metric {self.metric!r} is not a number")
        return max(0.0, value / self.limit - 1.0)

    def show(self, value: float) -> str:
        """`value` of this budget's metric in the unit of the budget: 7.3e8 under `1GFLOP` is '0.73GFLOP'."""
        return f"{value / UNITS[self.unit.lower().replace(' ', '')][1]:.3g}{self.unit}"

    def __str__(self) -> str:
        return self.text


def parse_budgets(texts: str | Budget | Iterable[str | Budget]) -> tuple[Budget, ...]:
    """All of `texts`, or one alone, as budgets; the first bad one raises UserError."""
    given = (texts,) if isinstance(texts, str) or not isinstance(texts, Iterable) else texts
    return tuple(text if isinstance(text, Budget) else Budget.parse(text) for text in given)


def total_violation(budgets: Iterable[Budget], metrics: Mapping[str, float]) -> float:
    """Sum of the relative excesses of `metrics` over `budgets`; 0.0 where all are met."""
    return sum(budget.violation(metrics) for budget in budgets)


def _known_unit(text: str, number: str, unit: str) -> tuple[str, float, str]:
    if unit.lower() in PREFIXES:
        prefix = SHOWN_PREFIXES[unit.lower()]
        raise UserError(
            f"budget {text!r}: ambiguous without a unit; "
            f"write {number}{prefix}FLOP, {number}{prefix}MAC, {number}{prefix}B or {number}{prefix}params"
            + ("" if prefix else f", or {number}ms")
        )
    if re.fullmatch(r"[KMGT]b", unit):  # capital prefix, small b: bits by the standard, bytes in many a habit
        raise UserError(f"budget {text!r}: {unit!r} may mean bits or bytes; write {number}{unit[0]}B for bytes")
    if re.fullmatch(r"Mj(oules?)?", unit, re.I) and unit[0] == "M":  # other prefixes may be written in either case
        raise UserError(f"budget {text!r}: {unit!r} may mean milli- or megajoules; write {number}mJ for millijoules")
    if "/" in unit:
        raise UserError(f"budget {text!r}: {unit!r} is a rate, a budget bounds one inference; for example {EXAMPLES}")
    if unit.lower() not in UNITS:
        raise UserError(f"budget {text!r}: unknown unit {unit!r}; for example {EXAMPLES}")
    return UNITS[unit.lower()]


def device_metrics(budgets: Iterable[Budget]) -> tuple[str, ...]:
    """Which metrics of a device `budgets` bind, each once."""
    asked = {budget.metric for budget in budgets}
    return tuple(metric for metric in DEVICE_METRICS if metric in asked)


def on_cost(budgets: Iterable[Budget]) -> tuple[Budget, ...]:
    """Those of `budgets` that arithmetic alone decides, without any device."""
    return tuple(budget for budget in budgets if budget.metric not in DEVICE_METRICS)
