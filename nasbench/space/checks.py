"""Checks of a space's file across its stages when it is read, and the reason why a space is empty."""

from __future__ import annotations

from dataclasses import replace

from nasbench.arch.parts import Stem
from nasbench.errors import UserError
from nasbench.space.equivalence import CLAMPED
from nasbench.space.file import Choices, SpaceFile, ints, texts
from nasbench.space.stage_sets import TOKENISED
from nasbench.space.structure import Structure


def check_stages(file: SpaceFile, source: str) -> None:
    """UserError naming `source`, key and value for the first combination of choices that cannot work."""
    _check_tokens(file, source)
    _check_maps(file, source)


def _check_tokens(file: SpaceFile, source: str) -> None:
    """Learned tokens are for the last stage only, a decoder for spaces of one stage."""
    for index, stage in enumerate(file.stages):
        followed = any(0 not in later["depth"] for later in file.stages[index + 1 :])
        if followed and any(stage["tokens"]) and TOKENISED in stage["block"]:
            raise UserError(
                f"{source}: stages[{index}].tokens = {list(stage['tokens'])}: a row of tokens has no map for the next "
                "stage; offer them in the last stage"
            )
    if "decoder" in file.head["kind"] and len(file.stages) > 1:
        raise UserError(
            f"{source}: head.kind = 'decoder' with {len(file.stages)} stages: it hides positions of one row and needs "
            "exactly one stage; leave it out"
        )


def _check_maps(file: SpaceFile, source: str) -> None:
    """A field of CLAMPED has several choices only where the side of its map is the resolution over the total stride.

    The map limits such a field, and which choices build the same network is decided by that quotient.
    """
    stems = [Stem(kind=kind, stride=stride) for kind in texts(file.stem, "kind") for stride in file.stem["stride"]]
    strides = {stem.total_stride for stem in stems if stem.kind != "slots"}
    uneven = "stem.kind 'slots'" if "slots" in file.stem["kind"] else ""
    for index, stage in enumerate(file.stages):
        field = next(
            (field for block, field in CLAMPED.items() if block in stage["block"] and len(stage[field]) > 1), ""
        )
        if uneven and field:
            raise UserError(
                f"{source}: stages[{index}].{field} = {list(stage[field])}: which of these differ hangs on the side of "
                f"the map, which {uneven} may change by more than a stride; offer one value"
            )
        strides = {before * stride for before in strides for stride in ints(stage, "stride")} | (
            strides if 0 in stage["depth"] else set()
        )
        uneven = uneven or _unevenness(stage, index, strides, file.resolution)


def _unevenness(stage: Choices, index: int, strides: set[int], resolutions: tuple[int, ...]) -> str:
    """What in this stage may give a map whose side is not the resolution over the stride; "" for nothing."""
    for field in ("block", "downsample"):
        if "slots" in stage[field]:
            return f"stages[{index}].{field} 'slots'"
    sides = [side // stride for side in resolutions for stride in strides if side % stride == 0]
    if "separable" in stage["block"] and any(side % patch for side in sides for patch in ints(stage, "patch")):
        return f"stages[{index}].block 'separable'"
    return ""


def why_empty(file: SpaceFile, source: str) -> str:
    """Why the space of `file` is empty: names the single constraint without which it would not be, if there is one."""
    for name, value in file.constraints.items():
        others = {key: other for key, other in file.constraints.items() if key != name}
        if not Structure(replace(file, constraints=others), source).is_empty:
            written = f"constraints.{name} = {value!r}"
            return f"{source}: {written}: no architecture of the space meets it; change it or the choices"
    return (
        f"{source}: no architecture can be built from these choices; check that resolutions are multiples of "
        "the total stride, and which blocks and channels each downsample can lead to"
    )
