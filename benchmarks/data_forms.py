"""The same images in every form that `--data` takes: whether a network trains to the same accuracy on them.

    python benchmarks/data_forms.py cifar10_12k.npz --out results/data-forms

Writes a part of the archive (x_train, y_train, x_test, y_test) as PNG, JPEG, a CSV, parquet and WebDataset shards into
a temporary folder, and trains one network on each with every seed. forms.csv has one line a training.
"""

from __future__ import annotations

import argparse
import io
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from nasbench.training.start import train_designs

JPEG_QUALITY = 95


class Picture(NamedTuple):
    """One image of a split, by its number there."""

    split: str
    index: int
    label: int
    pixels: np.ndarray

    def encoded(self, kind: str = "png") -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(self.pixels).save(buffer, kind, **({"quality": JPEG_QUALITY} if kind == "jpeg" else {}))
        return buffer.getvalue()


def pictures(archive: Path, train: int, test: int) -> Iterator[Picture]:
    with np.load(archive) as held:
        for split, count in (("train", train), ("test", test)):
            for index, (pixels, label) in enumerate(zip(held[f"x_{split}"][:count], held[f"y_{split}"][:count])):
                yield Picture(split, index, int(label), pixels)


def folder_of(kind: str) -> Callable[[Path, list[Picture]], Path]:
    def write(root: Path, images: list[Picture]) -> Path:
        for each in images:
            path = root / each.split / str(each.label) / f"{each.index:05d}.{kind}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(each.encoded(kind))
        return root

    return write


def csv(root: Path, images: list[Picture]) -> Path:
    rows = []
    for number, each in enumerate(images):
        (root / f"{number}.png").write_bytes(each.encoded())
        rows.append({"path": f"{number}.png", "label": each.label, "split": each.split})
    pd.DataFrame(rows).to_csv(root / "labels.csv", index=False)
    return root / "labels.csv"


def parquet(root: Path, images: list[Picture]) -> Path:
    for split in ("train", "test"):
        rows = [{"image": {"bytes": i.encoded()}, "label": i.label} for i in images if i.split == split]
        pd.DataFrame(rows).to_parquet(root / f"{split}-00000-of-00001.parquet")
    return root


def shards(root: Path, images: list[Picture]) -> Path:
    for split in ("train", "test"):
        with tarfile.open(root / f"{split}-000.tar", "w") as tar:
            for each in (image for image in images if image.split == split):
                for suffix, content in (("png", each.encoded()), ("cls", str(each.label).encode())):
                    entry = tarfile.TarInfo(f"{each.index:05d}.{suffix}")
                    entry.size = len(content)
                    tar.addfile(entry, io.BytesIO(content))
    return root


FORMS: dict[str, Callable[[Path, list[Picture]], Path]] = {
    "PNG": folder_of("png"), "JPEG": folder_of("jpeg"), "CSV": csv, "parquet": parquet, "shards": shards,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--network", default="mobilevit_xxs")
    parser.add_argument("--train", type=int, default=3000)
    parser.add_argument("--test", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("results/data-forms"))
    options = parser.parse_args()
    images, rows = list(pictures(options.archive, options.train, options.test)), []
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, write in FORMS.items():
            root = Path(folder) / name
            root.mkdir()
            found = train_designs(
                [options.network], write(root, images), epochs=options.epochs, resolution=32, seeds=options.seeds,
                out=Path(folder) / f"{name}-trained", runner="serial", changes=["warmup_epochs=0.5"],
            )  # fmt: skip
            rows += [
                {"form": name, "seed": each.job.seed, "test_accuracy": each.metrics["test_accuracy"]}
                for each in found.trainings
            ]
            pd.DataFrame(rows).to_csv(options.out / "forms.csv", index=False, lineterminator="\n")
            print(pd.DataFrame(rows).groupby("form", sort=False)["test_accuracy"].agg(["mean", "std"]), flush=True)


if __name__ == "__main__":
    main()
