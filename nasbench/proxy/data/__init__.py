"""Image data for trainings: the shipped default, CIFAR-10, folders, tables of paths, parquet, shards, the hub."""

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

# Data sets by name, which ":path" may follow; any other value of `--data` is a path.
DATASETS: dict[str, Callable[[str | None], ImageData]] = {
    DATA: lambda path: load_fashion_on_earth(),
    "cifar10": load_cifar10,
    HUB: load_hub,
}


def load_dataset(spec: str = DATA, labelled: bool = True) -> ImageData:
    """The images that `spec` names.

    "fashion-on-earth", "cifar10", "cifar10:/path/to/archive", a folder, a CSV of paths and labels, parquet files in
    Hugging Face's layout, WebDataset shards, or "hf:NAME" for the hub. Images of a folder are read when they are
    needed. UserError where something is wrong with them. labelled=False: the images as one class; a folder need not
    have class folders then.
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
