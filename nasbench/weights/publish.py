"""A saved model as a folder for the Hugging Face hub: its weights, a config.json and a model card.

All that the card says is read from the model's own file, or worked out from its architecture.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from nasbench import __version__
from nasbench.costs.analytic import cost
from nasbench.errors import UserError, shown
from nasbench.files import errors_naming, require_new_or_empty
from nasbench.weights.saved import Saved, opened, read_saved

MODEL, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
TEMPLATE = "model_card.md.jinja"
LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,63}")  # the hub's own identifiers
UNKNOWN = "unknown"
CLASSIFIER = "head.classifier.bias"
TASK = "image-classification"


def publish(path: Path, folder: Path, licence: str = UNKNOWN, name: str = "") -> list[Path]:
    """Write the folder, which must be new or empty -> its files. `licence`: of the weights, as the hub calls it.

    A UserError where the file is no saved model, or the folder holds anything.
    """
    if not LICENCE.fullmatch(licence):
        raise UserError(
            f"--licence {shown(licence)}: give an identifier as the hub has them, such as apache-2.0 or mit"
        )
    saved = read_saved(path)
    saved.architecture.require_classes()
    if not saved.about.classifies:
        raise UserError(
            f"{path}: was trained without labels and tells no classes apart; train it on some first, with "
            "nasbench train ARCH --weights FILE, and publish what that keeps"
        )
    require_new_or_empty(folder, CARD)
    _require_whole(path)
    name = name or saved.architecture.name or saved.architecture.id[:8]
    count = classes_of(path, saved)
    contents = {
        CONFIG: json.dumps(config(saved, name, count), indent=2) + "\n",
        CARD: card(saved, name, count, licence),
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    with errors_naming(folder), tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as part:
        made = Path(part) / "made"
        made.mkdir()
        shutil.copyfile(path, made / MODEL)
        for file, content in contents.items():
            (made / file).write_text(content, encoding="utf-8")
        if folder.is_dir():
            folder.rmdir()  # it is empty
        made.rename(folder)
    return [folder / file for file in (MODEL, CONFIG, CARD)]


def _require_whole(path: Path) -> None:
    """A UserError unless the model can be loaded, and all its weights are finite."""
    from nasbench.nn.finite import require_finite
    from nasbench.weights.checkpoints import load_model

    require_finite(load_model(path), path)


def classes_of(path: Path, saved: Saved) -> int:
    """How many classes the classifier in the file tells apart."""
    with opened(path, "np") as file:
        if CLASSIFIER in file.keys():  # noqa: SIM118, no mapping
            return int(file.get_slice(CLASSIFIER).get_shape()[0])
    return max(1, len(saved.about.classes))


def config(saved: Saved, name: str, count: int) -> dict[str, object]:
    """What programs read: the architecture whole, the images that it takes, its classes, its figures."""
    arch, about = saved.architecture, saved.about
    norm = about.normalisation
    return {
        "model_type": "nasbench",
        "name": name,
        "library": f"nasbench {__version__}",
        "form": saved.form,
        "num_labels": count,
        "id2label": {str(place): label for place, label in enumerate(about.classes)},
        "label2id": {label: place for place, label in enumerate(about.classes)},
        "input": {
            "channels": arch.in_channels,
            "height": arch.resolution,
            "width": arch.resolution,
            "mean": list(norm.mean) if norm else None,
            "std": list(norm.std) if norm else None,
        },
        "figures": about.figures,
        "provenance": about.provenance,
        "architecture": arch.to_dict(),
    }


def card(saved: Saved, name: str, count: int, licence: str) -> str:
    """The model card."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, trim_blocks=True, autoescape=False
    )  # Markdown, of which no value comes from a stranger's page
    figures = cost(saved.architecture, count, deploy=saved.form == "deploy")
    return environment.get_template(TEMPLATE).render(
        front=_front(saved, name, licence), name=_cell(name), arch=saved.architecture, form=saved.form, count=count,
        classes=[_cell(label) for label in saved.about.classes], cost=figures,
        figures=_cells(saved.about.figures), provenance=_Told(_cells(saved.about.provenance)), usage=usage(saved),
        licence_text=_licence(licence),
    )  # fmt: skip


class _Told(dict[str, str]):
    """Facts that a template may ask for whether or not they are there."""

    data: str = ""

    def __init__(self, facts: Mapping[str, str]) -> None:
        super().__init__(facts)
        self.data = facts.get("data", "")


def _front(saved: Saved, name: str, licence: str) -> dict[str, object]:
    """The card's header, which the hub reads; every value is JSON, which YAML holds."""
    accuracy = saved.about.figures.get("test_accuracy")
    header: dict[str, object] = {
        "license": licence, "library_name": "nasbench", "pipeline_tag": TASK,
        "tags": [TASK, "neural-architecture-search", *sorted({stage.block for stage in saved.architecture.stages})],
    }  # fmt: skip
    data = str(saved.about.provenance.get("data", "own images"))
    if isinstance(accuracy, (int, float)):
        kind = str(saved.about.figures.get("accuracy_is", "top1"))
        result = {
            "task": {"type": TASK},
            "dataset": {"name": data, "type": data},
            "metrics": [{"type": "accuracy", "name": f"test accuracy ({kind})", "value": accuracy}],
        }
        header["model-index"] = [{"name": name, "results": [result]}]
    return header


def usage(saved: Saved) -> str:
    """Python that classifies `photo.jpg`, run in the folder itself."""
    arch, norm = saved.architecture, saved.about.normalisation
    mode = "L" if arch.in_channels == 1 else "RGB"
    lines = [
        "import numpy as np", "import torch", "from PIL import Image, ImageOps", "", "import nasbench", "",
        'model = nasbench.load_model("model.safetensors")',
        f"side = {arch.resolution}",
        f'image = ImageOps.fit(Image.open("photo.jpg").convert("{mode}"), (side, side), Image.Resampling.BILINEAR)',
        "pixels = torch.from_numpy(np.array(image)).reshape(side, side, -1).permute(2, 0, 1) / 255",
    ]  # fmt: skip
    if norm is not None:
        lines += [
            f"mean, std = torch.tensor({_rounded(norm.mean)}), torch.tensor({_rounded(norm.std)})",
            "pixels = (pixels - mean[:, None, None]) / std[:, None, None]",
        ]
    lines += ["with torch.no_grad():", "    shares = model(pixels[None]).softmax(1)[0]", "best = int(shares.argmax())"]
    named = "model.about.classes[best]" if saved.about.classes else "best"
    return "\n".join([*lines, f"print({named}, float(shares[best]))"])


def _rounded(values: tuple[float, ...]) -> list[float]:
    return [round(value, 6) for value in values]


def _licence(licence: str) -> str:
    if licence == UNKNOWN:
        return "Not stated: whoever trained the model decides. The images may have terms of their own."
    return f"The weights: `{licence}`. nasbench itself is under Apache-2.0; the images may have terms of their own."


def _cells(facts: Mapping[str, object]) -> dict[str, str]:
    return {_cell(key): _cell(value) for key, value in facts.items()}


def _cell(value: object) -> str:
    """Text that stays in its cell of a table."""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
