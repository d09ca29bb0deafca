"""A saved model as a folder for the Hugging Face hub: its weights, a config.json and a model card.

Everything in the card is read from the model's file or computed from its architecture.
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
LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,63}")  # form of the hub's identifiers
UNKNOWN = "unknown"
CLASSIFIER = "head.classifier.bias"
TASK = "image-classification"


def publish(path: Path, folder: Path, licence: str = UNKNOWN, name: str = "") -> list[Path]:
    """Write the folder, which must be new or empty; returns its files. licence: of the weights, the hub's identifier.

    UserError where the file is no saved model or is damaged, or where the folder is not empty.
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
    """UserError unless the model can be loaded and all its weights are finite."""
    from nasbench.nn.finite import require_finite
    from nasbench.weights.checkpoints import load_model

    require_finite(load_model(path), path)


def classes_of(path: Path, saved: Saved) -> int:
    """The number of classes of the classifier in the file."""
    with opened(path, "np") as file:
        if CLASSIFIER in file.keys():  # noqa: SIM118, no mapping
            return int(file.get_slice(CLASSIFIER).get_shape()[0])
    return max(1, len(saved.about.classes))


def config(saved: Saved, name: str, count: int) -> dict[str, object]:
    """The content of config.json: architecture, input, classes, figures and provenance."""
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

    environment = Environment(  # without escaping, as the card is Markdown
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, trim_blocks=True, autoescape=False
    )
    provenance = _cells(saved.about.provenance)
    costs = cost(saved.architecture, count, deploy=saved.form == "deploy")
    return environment.get_template(TEMPLATE).render(
        front=_front(saved, name, licence), name=_cell(name), arch=saved.architecture, form=saved.form, count=count,
        classes=[_cell(label) for label in saved.about.classes], cost=costs,
        figures=_cells(saved.about.figures), provenance=provenance, data=provenance.get("data", ""),
        usage=usage(saved), licence_text=_licence(licence),
    )  # fmt: skip


def _front(saved: Saved, name: str, licence: str) -> dict[str, object]:
    """The card's YAML header, which the hub reads; the template writes its values as JSON, a subset of YAML."""
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
    """Python code that classifies `photo.jpg`, to be run in the folder itself."""
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
    """Names and values as text for a table."""
    return {_cell(key): _cell(value) for key, value in facts.items()}


def _cell(value: object) -> str:
    """Text escaped for a cell of a Markdown table."""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
