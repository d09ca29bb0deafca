"""How a design is reduced and trained for the proxy, as a value stored with each trial; a ladder is a row of them.

The reduction, stated once: images shrink to `resolution_scale` of the design's resolution, and as many strides of two
are taken out, from the front (stem first, then the earliest strided stages), as leave the later feature maps at
`map_scale` of their deployed size. With the default 1/8 and 1/2 a 256 px design of total stride 32 trains on 32 px
with total stride 8, and its last map is 4 x 4 instead of 8 x 8: attention still has something to attend to. Channels
are multiplied by `width`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nasbench.errors import UserError
from nasbench.values import first_problem

MIN_SIZE = 16  # pixels a side of a proxy image


# Fields that stored fidelities may lack, at the values they stand for then; neither may ever change.
LATER: dict[str, Any] = {"optimiser": "sgd", "branch_gain": 1.0, "linear_gain": 0.0}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Fidelity(_Frozen):
    """One way to train for a score. Rates, sizes and the reduction are all here; nothing else changes a result.

    Every fidelity is a one-cycle schedule of its own: accuracy read in the middle of a longer one misranks.
    """

    samples: int = Field(ge=1)  # images seen, repeats counted
    pool: int = Field(9_600, ge=2)  # distinct training images; more did not rank better
    evaluate: int = Field(10_000, ge=2)  # at most that many images of the split that is scored
    resolution_scale: float = Field(0.125, gt=0, le=1)
    map_scale: float = Field(0.5, gt=0, le=1)
    width: float = Field(0.25, gt=0, le=1)
    layer_scale: float = Field(0.5, ge=0)  # start of every γ, 0 for the design's own: 1e-5 keeps branches shut for long
    batch_size: int = Field(32, ge=2)
    lr: float = Field(0.15, gt=0)  # peak
    warmup: float = Field(0.25, ge=0, lt=1)  # share of the schedule in which the rate rises
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(5e-4, ge=0)  # not on norms, biases, γ
    clip_norm: float = Field(1.0, ge=0)  # of the gradient, 0 for none; it halved the spread of EMO-1M over 3 seeds
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    shift: float = Field(0.125, ge=0, le=0.5)  # of the side
    flip: bool = True
    optimiser: Literal["sgd", "muon"] = "sgd"  # muon wants lr 0.03
    branch_gain: float = Field(1.0, ge=0)  # start of residual branches without a γ, times their usual scale
    linear_gain: float = Field(0.0, ge=0)  # start of linear layers, times Xavier's deviation; 0 for N(0, 0.02²)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], source: str = "fidelity") -> Fidelity:
        fidelity = _validated(cls, content, source)
        fidelity.strides_out  # noqa: B018  an impossible pair of scales is reported with the file
        return fidelity

    def to_dict(self) -> dict[str, Any]:
        """Every field, defaults included: a stored trial must not change its meaning with the next version.

        A field that came later is left out at the value that says what trials stored before it did: their keys, hashes
        of this, must stay what they are, or a resumed study would train everything again.
        """
        content = self.model_dump(mode="json")
        return {key: value for key, value in content.items() if key not in LATER or value != LATER[key]}

    @property
    def id(self) -> str:
        """12 hexadecimal digits from all fields."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:12]

    @property
    def strides_out(self) -> int:
        """How many strides of two are taken out."""
        ratio = self.map_scale / self.resolution_scale
        count = round(math.log2(ratio)) if ratio > 0 else -1
        if count < 0 or not math.isclose(2.0**count, ratio):
            raise UserError(
                f"map_scale {self.map_scale:g} over resolution_scale {self.resolution_scale:g} is {ratio:g}; it must "
                "be 1, 2, 4, ..., since strides of two are taken out; use for example 0.5 and 0.125"
            )
        return count

    def image_size(self, resolution: int) -> int:
        """Side in pixels of the proxy's images for a design of this resolution; never below 16."""
        return max(MIN_SIZE, round(resolution * self.resolution_scale))


class Rung(_Frozen):
    """One step of a ladder: how many designs enter it, and how they are trained."""

    name: str = ""
    trials: int = Field(ge=1)
    fidelity: Fidelity

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], source: str = "ladder") -> Rung:
        """From the flat form of a [[ladder]] table: the rung's own keys beside those of its fidelity."""
        own = {key: value for key, value in content.items() if key in cls.model_fields and key != "fidelity"}
        fidelity = Fidelity.from_dict({key: value for key, value in content.items() if key not in own}, source)
        return _validated(cls, own | {"fidelity": fidelity}, source)

    def to_dict(self) -> dict[str, Any]:
        own = self.model_dump(mode="json", exclude={"fidelity"})
        return own | self.fidelity.to_dict()


class Ladder(_Frozen):
    """Rungs in ascending order of samples; the values of the last one enter the front."""

    rungs: tuple[Rung, ...] = Field(min_length=1)

    @classmethod
    def from_list(cls, tables: Sequence[Mapping[str, Any]], source: str = "ladder") -> Ladder:
        """The [[ladder]] tables of a runner or study file."""
        if not tables:
            raise UserError(
                f"{source}: no [[ladder]] table; at least one rung is needed: add [[ladder]] with trials and samples"
            )
        rungs = tuple(Rung.from_dict(table, f"{source}: ladder[{index}]") for index, table in enumerate(tables))
        for index, (low, high) in enumerate(pairwise(rungs)):
            if high.fidelity.samples < low.fidelity.samples:
                raise UserError(
                    f"{source}: ladder[{index + 1}] trains on {high.fidelity.samples} samples after "
                    f"{low.fidelity.samples}; samples must not fall from rung to rung: reorder the tables"
                )
        return cls(rungs=rungs)

    def to_list(self) -> list[dict[str, Any]]:
        return [rung.to_dict() for rung in self.rungs]


def _validated(cls: Any, content: Mapping[str, Any], source: str) -> Any:
    try:
        return cls.model_validate(dict(content))
    except ValidationError as error:
        raise UserError(f"{source}: {first_problem(error, cls)}") from None
