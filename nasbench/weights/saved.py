"""The metadata of a saved model beside its architecture: classes, normalisation, figures, provenance.

Reading it needs no torch.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import Field

from nasbench.arch.architecture import Architecture
from nasbench.errors import UserError
from nasbench.values import Value

if TYPE_CHECKING:
    from nasbench.nn.model import Model

WHITE = 255.0
KEY, ARCHITECTURE = "about", "architecture"  # keys of the file's metadata
LARGEST = 10**15
Integer = Annotated[int, Field(ge=-LARGEST, le=LARGEST)]
Number = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
Fact = str | bool | Integer | Number


class ImageNormalisation(Value):
    """Mean and standard deviation of each channel, of pixels in 0 to 1; one of each for grey images."""

    mean: tuple[Annotated[float, Field(ge=-100, le=100)], ...] = Field(min_length=1, max_length=64)
    std: tuple[Annotated[float, Field(gt=0, le=100)], ...] = Field(min_length=1, max_length=64)

    @property
    def mean_255(self) -> tuple[float, ...]:
        return tuple(WHITE * value for value in self.mean)

    @property
    def deviation_255(self) -> tuple[float, ...]:
        return tuple(WHITE * value for value in self.std)


class About(Value):
    """Metadata of a saved model.

    classes: names in the order of the logits. figures: what was measured, by name. provenance: how it was trained.
    """

    classes: tuple[str, ...] = ()
    normalisation: ImageNormalisation | None = None
    figures: dict[str, Fact] = Field(default_factory=dict)
    provenance: dict[str, Fact] = Field(default_factory=dict)

    @property
    def classifies(self) -> bool:
        """Whether its classifier has learnt anything: training without labels leaves it as it began."""
        return self.provenance.get("objective") != "masked"

    @classmethod
    def of(cls, model: Model) -> About:
        """The metadata of a model that was loaded from a file; empty for one just built."""
        found = getattr(model, KEY, None)
        return found if isinstance(found, cls) else cls()

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], source: str) -> About:
        """From the metadata of a safetensors file; empty where it has none of ours. UserError where it is damaged."""
        if KEY not in metadata:
            return cls()
        try:
            content: Any = json.loads(metadata[KEY])
        except (ValueError, RecursionError) as error:
            raise UserError(f"{source}: what it says about itself is no JSON ({error}); save the model again") from None
        if not isinstance(content, dict):
            raise UserError(f"{source}: what it says about itself is no table; save the model again")
        return cls.from_dict(content, source)


class Saved(NamedTuple):
    """A saved model without its weights."""

    architecture: Architecture
    about: About
    form: str  # "train" or "deploy"
    tensors: int
    values: int  # numbers in all tensors, norms' statistics among them


def read_saved(path: Path | str) -> Saved:
    """A saved model's file without the weights; UserError where it is none."""
    path = Path(path)
    with opened(path, "np") as file:
        metadata = dict(file.metadata() or {})
        shapes = [file.get_slice(key).get_shape() for key in file.keys()]  # noqa: SIM118, no mapping
    if ARCHITECTURE not in metadata:
        raise UserError(f"{path}: has no architecture inside; give a file that `nasbench train` or save_weights wrote")
    arch = Architecture.from_toml(metadata[ARCHITECTURE], str(path))
    about = About.from_metadata(metadata, str(path))
    form = "deploy" if metadata.get("form") == "deploy" else "train"
    return Saved(arch, about, form, len(shapes), sum(math.prod(shape) for shape in shapes))


def has_architecture(path: Path) -> bool:
    """Whether a safetensors file is a saved model, not weights alone."""
    with opened(path, "np") as file:
        return ARCHITECTURE in (file.metadata() or {})


@contextlib.contextmanager
def opened(path: Path, framework: Literal["pt", "np"] = "pt") -> Iterator[Any]:
    """A safetensors file as a context; UserError where it cannot be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework=framework) as file:
            yield file
    except SafetensorError as error:
        raise UserError(f"{path}: not a safetensors file ({error}); give a whole .safetensors file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}; give a .safetensors file") from None
