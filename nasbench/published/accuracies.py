"""Published top-1 accuracy on ImageNet-1k, network by network, and how each was trained. Nothing of it is our own."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from nasbench.arch.library import named_family
from nasbench.errors import UserError
from nasbench.files import read_toml
from nasbench.values import Value, shown

FILE = Path(__file__).with_name("published.toml")
Training = Literal["plain", "distilled", "pretrained"]


class Accuracy(Value):
    """One quoted accuracy. Only "plain" ones compare: ImageNet-1k and its labels alone taught the network."""

    value: float = Field(gt=1, lt=100)  # top-1 in %, so no share such as 0.751
    training: Training = "plain"
    pretraining: str | None = None  # on what, where it was
    resolution: int | None = Field(None, ge=1, le=1 << 16)  # that it was scored at
    epochs: int | None = Field(None, ge=1, le=10**6)  # on ImageNet-1k
    source: str = ""

    @model_validator(mode="after")
    def _says_what_it_was_pretrained_on(self) -> Self:
        if (self.training == "pretrained") != (self.pretraining is not None):
            raise UserError('pretraining = "..." belongs to training = "pretrained", and to no other; say on what')
        return self

    @property
    def plain(self) -> bool:
        return self.training == "plain"


def accuracies(more: Path | str | None = None) -> dict[str, Accuracy]:
    """Name -> published accuracy of every shipped network that classifies.

    `more` is a TOML file of further ones, which win over those shipped: `NAME = 75.1`, or a table with the fields of
    `Accuracy`.
    """
    shipped = {name: facts["top1"] for name, facts in _facts().items() if "top1" in facts}
    found = {name: Accuracy.from_dict(content, f"{FILE.name}: {name}") for name, content in shipped.items()}
    return found if more is None else found | _users_own(Path(more))


def _users_own(path: Path) -> dict[str, Accuracy]:
    found = {name: content for name, content in read_toml(path).items() if not _classifies_nothing(content)}
    return {name: _accuracy(content, f"{path}: {name}", str(path)) for name, content in found.items()}


def _classifies_nothing(content: Any) -> bool:
    """Whether it is one of published.toml's networks that have no accuracy."""
    return isinstance(content, Mapping) and "published" in content and "top1" not in content


def _accuracy(content: Any, place: str, source: str) -> Accuracy:
    if isinstance(content, Mapping) and "top1" in content:  # as in published.toml
        content = content["top1"]
    if isinstance(content, (int, float)) and not isinstance(content, bool):
        content = {"value": content}
    if not isinstance(content, Mapping):
        raise UserError(
            f"{place} = {shown(content)}: must be a top-1 accuracy in %, such as 75.1, or a table with value"
        )
    return Accuracy.from_dict({"source": source, **content}, place)


def family_of(name: str) -> str:
    """The family of a network: as published.toml says, else the beginning of its name."""
    return str(_facts().get(name, {}).get("family", named_family(name)))


@lru_cache(maxsize=1)
def _facts() -> dict[str, Any]:
    return read_toml(FILE)
