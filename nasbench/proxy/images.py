"""The name and content id of the images that trainings share, and decoding them before several workers need them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from nasbench.arch.architecture import Architecture
from nasbench.files import data_spec
from nasbench.study.fidelity import Fidelity
from nasbench.study.task import DATASETS
from nasbench.values import content_hash


class Images(NamedTuple):
    """A data set's name as `--data` takes it, and the id of its content."""

    name: str
    id: str

    @property
    def ours(self) -> bool:
        """Whether it is one of DATASETS, not a user's own."""
        return self.name.partition(":")[0] in DATASETS

    @property
    def label(self) -> str:
        """A short name for texts: of a path its last part."""
        return self.name if self.ours else Path(self.name).name


def images_named(text: str | Path) -> Images:
    """The images for a value of `--data`."""
    from nasbench.proxy.evaluate import dataset

    spec = data_spec(str(text), DATASETS)
    return Images(spec, dataset(spec).id)


def prepare_images(images: Images, trainings: Iterable[tuple[Architecture, Fidelity]]) -> None:
    """Decode what these trainings will read."""
    prepare_sizes(images, ((arch.resolution, fidelity) for arch, fidelity in trainings))


def prepare_sizes(images: Images, wanted: Iterable[tuple[int, Fidelity]]) -> None:
    """Decode the images for (resolution, fidelity) pairs, once for each recipe."""
    from nasbench.proxy.evaluate import prepare

    sizes: dict[str, set[int]] = {}
    fidelities = {}
    for resolution, fidelity in wanted:
        key = content_hash(fidelity.recipe.to_dict())
        fidelities[key] = fidelity
        sizes.setdefault(key, set()).add(resolution)
    for key, fidelity in fidelities.items():
        prepare(images.name, fidelity, tuple(sorted(sizes[key])))
