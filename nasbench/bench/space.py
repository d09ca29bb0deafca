"""The rows of a table as a search space: designs are tuples of field values.

Where the table does not hold every combination of values, a move leads to one of the rows that differ least from its
target.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nasbench.costs.budget import Budget
from nasbench.errors import UserError
from nasbench.space.file import FieldValue
from nasbench.space.limits import Predict, RejectionCounter

SMALL = 255  # values, below which a byte holds a code
ONE_HOT_AT_MOST = 8  # values of a numeric field that is also encoded one-hot


@dataclass(frozen=True)
class Row:
    """One design of a table: its place among the rows, and its id in trials."""

    place: int
    id: str


@dataclass(frozen=True, eq=False)
class TableSpace:
    """The distinct designs of a table: `codes` (rows, fields) are indices into each field's sorted `domains`.

    Implements `strategies.context.Parametric`; equality is identity.
    """

    fields: tuple[str, ...]
    domains: tuple[tuple[FieldValue, ...], ...]
    codes: np.ndarray
    ids: tuple[str, ...]

    @classmethod
    def of(cls, fields: Sequence[str], columns: Sequence[Sequence[FieldValue]], ids: Sequence[str]) -> TableSpace:
        """From a column of values for each field; rows must differ. UserError where no field varies."""
        domains, codes = [], []
        for column in columns:
            domain = sorted(set(column), key=lambda value: (isinstance(value, str), value))
            places = {value: place for place, value in enumerate(domain)}
            domains.append(tuple(domain))
            codes.append(np.array([places[value] for value in column], np.int32))
        if all(len(domain) < 2 for domain in domains):
            raise UserError(f"fields {', '.join(fields)}: no field has two values; name those that tell designs apart")
        return cls(tuple(fields), tuple(domains), np.column_stack(codes), tuple(ids))

    def sample(
        self,
        rng: np.random.Generator,
        budgets: Sequence[Budget] = (),
        num_classes: int = 1000,
        counter: RejectionCounter | None = None,
        predict: Predict | None = None,
    ) -> Row:
        """A random row; UserError with budgets, which a table does not have."""
        if budgets:
            raise UserError("a table of rows knows no budgets; leave them out")
        return self.row(int(rng.integers(len(self.codes))))

    def mutate(self, arch: Row, rng: np.random.Generator, changes: int = 1) -> Row:
        """Another row, nearest to `arch` with this many fields changed one after the other."""
        wanted = self.codes[arch.place].copy()
        for _ in range(changes):
            field, values = self._varying[int(rng.integers(len(self._varying)))]
            wanted[field] = (wanted[field] + int(rng.integers(1, values))) % values
        return self._nearest(wanted, rng, without=arch.place)

    def crossover(self, a: Row, b: Row, rng: np.random.Generator) -> Row:
        """Each field from either parent."""
        from_a = rng.random(len(self.fields)) < 0.5
        return self._nearest(np.where(from_a, self.codes[a.place], self.codes[b.place]), rng)

    def neighbours(self, arch: Row) -> Iterator[Row]:
        """The rows one change of one field away; where the table is a sample, as many that differ least."""
        distances = self._distances(self.codes[arch.place])
        if self._is_complete:
            places = np.flatnonzero(distances == 1)
        else:
            count = sum(len(domain) - 1 for domain in self.domains)
            places = np.argsort(distances, kind="stable")[1 : count + 1]
        return (self.row(int(place)) for place in places)

    def contains(self, arch: Row) -> bool:
        return 0 <= arch.place < len(self.ids) and self.ids[arch.place] == arch.id

    def size(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Row]:
        return map(self.row, range(len(self.ids)))

    def describe(self, arch: Row) -> np.ndarray:
        """(columns,) `arch` as numbers in [0, 1]: see `described`."""
        return np.asarray(self.described[arch.place])

    @cached_property
    def parameter_choices(self) -> dict[str, tuple[FieldValue, ...]]:
        """The fields that have a choice, each with its values."""
        return {self.fields[field]: self.domains[field] for field, _ in self._varying}

    def parameters(self, arch: Row) -> dict[str, FieldValue]:
        """The values of a row in the fields that have a choice."""
        code = self.codes[arch.place]
        return {self.fields[field]: self.domains[field][code[field]] for field, _ in self._varying}

    def from_parameters(self, values: Mapping[str, FieldValue], rng: np.random.Generator | None = None) -> Row:
        """The row of these values, or one that differs least."""
        code = np.zeros(len(self.fields), np.int32)
        for field, _ in self._varying:
            code[field] = self.domains[field].index(values[self.fields[field]])
        return self._nearest(code, rng or np.random.default_rng(0))

    def row(self, place: int) -> Row:
        return Row(place, self.ids[place])

    @cached_property
    def described(self) -> np.ndarray:
        """(rows, columns): a number as its rank among the field's values; few values, and words, one-hot."""
        columns = []
        for field, domain in enumerate(self.domains):
            code, numeric = self.codes[:, field], not any(isinstance(value, (str, bool)) for value in domain)
            if len(domain) == 2 or (numeric and len(domain) > 2):
                columns.append(code / (len(domain) - 1))
            if len(domain) > 2 and not (numeric and len(domain) > ONE_HOT_AT_MOST):
                columns += [(code == value).astype(float) for value in range(len(domain))]
        return np.column_stack(columns)

    @cached_property
    def _varying(self) -> tuple[tuple[int, int], ...]:
        """The fields that have a choice, each with how many values."""
        return tuple((field, len(domain)) for field, domain in enumerate(self.domains) if len(domain) > 1)

    @cached_property
    def _is_complete(self) -> bool:
        """Whether the table holds every combination."""
        return len(self.ids) == np.prod([float(len(domain)) for domain in self.domains])

    @cached_property
    def _columns(self) -> np.ndarray:
        """(fields, rows) codes, in the layout in which distances are fastest."""
        small = max(len(domain) for domain in self.domains) < SMALL
        return np.ascontiguousarray(self.codes.T.astype(np.uint8 if small else np.int32))

    @cached_property
    def _places(self) -> dict[bytes, int]:
        return {code.tobytes(): place for place, code in enumerate(self.codes)}

    def _distances(self, code: np.ndarray) -> np.ndarray:
        """(rows,) Hamming distance of each row."""
        differs = self._columns != np.asarray(code, self._columns.dtype)[:, None]
        return np.asarray(np.add.reduce(differs, 0, dtype=np.uint8 if len(self.fields) < SMALL else np.uint16))

    def _nearest(self, code: np.ndarray, rng: np.random.Generator, without: int | None = None) -> Row:
        """The row of this code, else one of the nearest; never the row `without`."""
        exact = self._places.get(np.asarray(code, np.int32).tobytes())
        if exact is not None and exact != without:
            return self.row(exact)
        distances = self._distances(code)
        if without is not None:
            distances[without] = len(self.fields) + 1
        nearest = np.flatnonzero(distances == distances.min())
        return self.row(int(nearest[int(rng.integers(len(nearest)))]))
