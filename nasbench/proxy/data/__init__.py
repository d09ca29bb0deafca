"""Image data for proxy training: the embedded default, CIFAR-10, or a folder of images."""

from __future__ import annotations

from collections.abc import Callable

from nasbench.proxy.data.cifar10 import load_cifar10
from nasbench.proxy.data.fashion_on_earth import load_fashion_on_earth
from nasbench.proxy.data.folder import load_folder
from nasbench.proxy.data.images import ArrayImages, ImageData, Images, split_validation, unlabelled

__all__ = ["DATASETS", "DEFAULT", "ArrayImages", "ImageData", "Images", "load_dataset", "split_validation"]

DEFAULT = "fashion-on-earth"

# A name before an optional ":path"; anything else is a folder.
DATASETS: dict[str, Callable[[str | None, bool], ImageData]] = {
    "fashion-on-earth": lambda path, cache: load_fashion_on_earth(cache),
    "cifar10": load_cifar10,
}


def load_dataset(spec: str = DEFAULT, cache: bool = True, labelled: bool = True) -> ImageData:
    """The images that `spec` names: "fashion-on-earth", "cifar10", "cifar10:/path/to/archive", or a folder.

    Nothing large is read from a folder until a trial asks for pixels. A `UserError` says in one line what is wrong
    with a spec, an archive or a folder. `cache=False` neither reads nor writes the user's cache. `labelled=False` gives
    the images alone, as one class, and takes a folder without class sub-folders too.
    """
    name, _, path = spec.partition(":")
    if name in DATASETS:
        data = DATASETS[name](path or None, cache)
        return data if labelled else unlabelled(data)
    return load_folder(spec, labelled)
