"""Image data for trainings: the embedded default, CIFAR-10, folders, tables of paths, parquet, shards, the hub."""

from __future__ import annotations

from collections.abc import Callable

from nasbench.proxy.data.cifar10 import load_cifar10
from nasbench.proxy.data.fashion_on_earth import load_fashion_on_earth
from nasbench.proxy.data.folder import load_folder
from nasbench.proxy.data.hub import HUB, load_hub
from nasbench.proxy.data.images import ArrayImages, ImageData, Images, split_validation, unlabelled
from nasbench.proxy.data.parquet import is_parquet, load_parquet
from nasbench.proxy.data.shards import is_shards, load_shards
from nasbench.proxy.data.table import is_table, load_table
from nasbench.study.task import DATA

__all__ = ["DATASETS", "ArrayImages", "ImageData", "Images", "load_dataset", "split_validation"]

# A name before an optional ":path"; anything else is a folder.
DATASETS: dict[str, Callable[[str | None], ImageData]] = {
    DATA: lambda path: load_fashion_on_earth(),
    "cifar10": load_cifar10,
    HUB: load_hub,
}


def load_dataset(spec: str = DATA, labelled: bool = True) -> ImageData:
    """The images that `spec` names: "fashion-on-earth", "cifar10", "cifar10:/path/to/archive", a folder, a CSV of paths
    and labels, parquet files as Hugging Face lays them out, WebDataset shards, or "hf:NAME" for the hub.

    Nothing large is read from a folder until a trial asks for pixels. A `UserError` says in one line what is wrong
    with a spec, an archive or a folder. `labelled=False` gives the images alone, as one class, and
    takes a folder without class sub-folders too.
    """
    name, _, path = spec.partition(":")
    if name in DATASETS:
        data = DATASETS[name](path or None)
        return data if labelled else unlabelled(data)
    for fits, load in ((is_table, load_table), (is_parquet, load_parquet), (is_shards, load_shards)):
        if fits(spec):
            data = load(spec)
            return data if labelled else unlabelled(data)
    return load_folder(spec, labelled)
