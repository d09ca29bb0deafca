"""nasbench.proxy.masked and its way through a study: hidden pixels stay hidden, labels unread, words honest."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from search_toys import run_search, study_of
from shared_spaces import SMALL as SMALL_SPACE

import nasbench
from nasbench.arch.architecture import Architecture
from nasbench.arch.library import fixed_points
from nasbench.engine.time_left import best_so_far
from nasbench.errors import UserError
from nasbench.proxy.data import load_dataset
from nasbench.proxy.data.augment import normalisation
from nasbench.proxy.data.images import unlabelled
from nasbench.proxy.data.pool import MemoryPool
from nasbench.proxy.evaluate import DeployMismatch, evaluate, seeded_model
from nasbench.proxy.masked import HIDDEN, MaskedImageModel, draw_hidden, hidden_pixels, masked_form, score_masked
from nasbench.proxy.reduction import reduced
from nasbench.report.results import StudyResult
from nasbench.report.tables import closing_text, records
from nasbench.study.fidelity import FORMER, Fidelity, load_recipe
from nasbench.study.objective import MASKED, MASKED_AGREEMENT, OBJECTIVES
from nasbench.study.runner import RunnerSpec
from nasbench.study.study import Study
from nasbench.study.task import DataSplit, Task

ROOT = Path(nasbench.__file__).parents[1]
FIDELITY = load_recipe(FORMER).at(256, pool=200, evaluate=80)
SMALL = Architecture.from_dict({
    "resolution": 128,
    "stem": {"kind": "conv", "channels": 32},
    "stages": [
        {"block": "mbconv", "downsample": "block", "channels": 32, "depth": 1, "expansion": 2},
        {"block": "repmixer", "downsample": "patch_embed", "channels": 48, "depth": 1, "branches": "repvgg"},
    ],
    "head": {"kind": "linear"},
})  # fmt: skip
# One of each way in: plain maps, maps of windows, a map that is a row of tokens, rows whose positions can be dropped.
NETWORKS = {"mobilenetv2_100": False, "swin_t": False, "pvt_tiny": False, "deit_ti": True, "deit_ti_distilled": True}


def masked_model(name: str) -> MaskedImageModel:
    arch = reduced(fixed_points()[name], FIDELITY)
    return masked_form(seeded_model(arch, 1, 0), FIDELITY, 0).eval()


@pytest.fixture(scope="module")
def blobs(tmp_path_factory):
    """Images of a smooth slope in a random direction: what is hidden can be told from what is seen."""
    rng, path = np.random.default_rng(0), tmp_path_factory.mktemp("data") / "slopes.npz"
    arrays: dict[str, Any] = {}
    for split, count in (("train", 260), ("test", 100)):
        y, x = np.mgrid[-1:1:32j, -1:1:32j]
        slopes = rng.uniform(-1, 1, (count, 2, 1, 1, 3))
        pixels = 128 + 60 * (slopes[:, 0] * y[None, :, :, None] + slopes[:, 1] * x[None, :, :, None])
        arrays |= {f"x_{split}": pixels.astype(np.uint8), f"y_{split}": rng.integers(0, 4, count)}
    np.savez(path, **arrays)
    return path


def task(path: Path, fidelity: Fidelity = FIDELITY) -> Task:
    return Task(SMALL, fidelity, 1, DataSplit(f"cifar10:{path}"), RunnerSpec(), "masked")


@pytest.fixture(scope="module")
def metrics(blobs):
    return evaluate(task(blobs, FIDELITY.replace(samples=1024)))


@pytest.mark.parametrize(("name", "drops"), NETWORKS.items())
def test_what_is_painted_does_not_depend_on_hidden_pixels(name, drops):
    model, rng = masked_model(name), np.random.default_rng(0)
    size = model.encoder.arch.resolution
    hidden = draw_hidden(3, model.grid, rng)
    images = torch.from_numpy(rng.normal(size=(3, 3, size, size))).float()
    cells = hidden_pixels(hidden, size)
    with torch.no_grad():
        painted = model(images, hidden)
        assert torch.equal(model(torch.where(cells, images + 7, images), hidden), painted)
        assert not torch.allclose(model(torch.where(cells, images, images + 7), hidden), painted)
    assert painted.shape == images.shape
    assert model.drops is drops
    assert abs(cells.float().mean() - HIDDEN) < 0.02


def test_positions_are_painted_where_they_lie(monkeypatch):
    """A decoder that paints 1 for what the encoder saw and 0 for what it did not gives the mask back."""
    model = masked_model("deit_ti")
    side = model.grid
    hidden = draw_hidden(2, side, np.random.default_rng(1))

    def decode(x: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        patch, kept = model.decoder.spec.patch, x.shape[3] - model.tokens
        value = (places < kept).float()[:, :, None]
        return value.expand(-1, -1, 3 * patch**2)

    monkeypatch.setattr(model.decoder, "forward", decode)
    size = model.encoder.arch.resolution
    painted = model(torch.zeros(2, 3, size, size), hidden)
    assert torch.equal(painted[:, :1] == 0, hidden_pixels(hidden, size))


def test_painting_the_mean_scores_one_and_masks_are_the_same_every_time():
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8))
    pool = MemoryPool(pixels, torch.zeros(40, dtype=torch.int64))
    norm = normalisation(pool)
    model = masked_form(seeded_model(SMALL.with_resolution(32), 1, 0), FIDELITY, 0)
    first = score_masked(model, pool, norm, seed=0)
    assert first == score_masked(model, pool, norm, seed=0)
    assert first != score_masked(model, pool, norm, seed=1)
    torch.nn.init.zeros_(model.decoder.predict.weight)
    assert score_masked(model, pool, norm, seed=0).error == pytest.approx(1.0, abs=1e-6)


def test_a_network_learns_to_paint_and_its_metrics_say_what_they_are(metrics):
    assert 0.3 < metrics["masked_r2"] < 1
    assert metrics["masked_error"] == pytest.approx(1 - metrics["masked_r2"])
    assert 0 < metrics["deploy_difference"] < 1e-9
    assert metrics["data_id"].endswith("-unlabelled")
    assert "accuracy" not in metrics
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


def test_labels_are_not_read(blobs, tmp_path):
    arrays = dict(np.load(blobs))
    arrays["y_train"] = (arrays["y_train"] + 1) % 4 * (np.arange(len(arrays["y_train"])) % 3)
    arrays["y_test"] = arrays["y_test"][::-1]
    np.savez(tmp_path / "other.npz", **arrays)
    changing = ("train_seconds", "cpu_seconds", "data_id")  # the content's hash covers the file's labels
    one, other = (
        {k: v for k, v in evaluate(task(p)).items() if k not in changing} for p in (blobs, tmp_path / "other.npz")
    )
    assert one == other


def test_no_split_keeps_its_labels(blobs):
    """A validation split that the data bring would else be thinned out class by class."""
    data = load_dataset(f"cifar10:{blobs}")
    bare = unlabelled(replace(data, validation=data.test))
    assert bare.validation is not None
    assert not any(part.labels.any() for part in (bare.train, bare.validation, bare.test))
    assert data.train.labels.any()


def test_failures_are_those_of_supervised_training(blobs, monkeypatch):
    from nasbench.proxy import evaluate as evaluation

    real = evaluation.reparameterise

    def broken(model):
        merged = real(model)
        merged.head.classifier.weight.data.mul_(1.001)
        return merged

    monkeypatch.setattr(evaluation, "reparameterise", broken)
    with pytest.raises(DeployMismatch):
        evaluate(task(blobs))


def test_an_autoencoders_training_form_is_refused():
    arch = reduced(fixed_points()["mae_base"], FIDELITY)
    with torch.device("meta"), pytest.raises(UserError, match="decoder of its own; give its encoder"):
        MaskedImageModel(nasbench.build(arch), 4)


def test_a_folder_without_class_folders_will_do(tmp_path):
    from PIL import Image

    rng = np.random.default_rng(0)
    for index in range(40):
        place = tmp_path / "photos" / ("2023" if index % 2 else ".")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(place / f"{index}.png")
    data = load_dataset(str(tmp_path / "photos"), labelled=False)
    assert (len(data.train.labels), len(data.test.labels), data.classes) == (32, 8, ())
    assert not set(data.train.names) & set(data.test.names)  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=r"two or more are needed.*--objective masked"):
        load_dataset(str(tmp_path / "photos"))
    for index in range(5, 40):
        next((tmp_path / "photos").rglob(f"{index}.png")).unlink()
    with pytest.raises(UserError, match="holds 5 images; at least 10"):
        load_dataset(str(tmp_path / "photos"), labelled=False)


# The way through a study


def study(objectives: tuple[str, ...] = (MASKED.loss, "latency_ms")) -> Study:
    """Of a device elsewhere, so that nothing is measured here."""
    own = {"objectives": objectives, "finalists": 2, "strategy": {"name": "random"}, "device": "by-formula"}
    return study_of(SMALL_SPACE, [{"trials": 6, "samples": 100}], **own)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    folder = tmp_path_factory.mktemp("masked")
    study().create(folder)
    result = run_search(study(), folder, "search_toys:evaluate_masked", space=SMALL_SPACE, fixed={})
    return replace(result, measured_ms={t.architecture_id: 1.0 + i for i, t in enumerate(result.trials)})


def test_a_masked_study_ranks_and_reports_by_its_own_metric(finished):
    rows = finished.rows()
    finals = [trial for trial in finished.trials if trial.split == "test"]
    scores = {t.architecture_id: t.metrics["masked_r2"] for t in finished.trials if t.split == "validation"}
    assert {t.architecture_id for t in finals} >= {max(scores, key=scores.__getitem__)}
    record = records(rows)[0]
    assert "masked_r2_measured_mean" in record
    assert not any("accuracy" in key for key in record)
    assert set(MASKED.notes) <= set(closing_text(rows))
    assert best_so_far(finished.trials, MASKED) == (max(scores.values()), max(scores, key=scores.__getitem__)[:8])


def test_its_report_says_masked_r2_and_nothing_else(finished):
    finished.report()
    texts = [(finished.folder / "front.svg").read_text(), (finished.folder / "front.csv").read_text()]
    designs = [path.read_text() for path in (finished.folder / "designs").glob("*.toml")]
    assert "masked_r2" in texts[1]
    assert designs
    assert all(text.splitlines()[1].startswith("# masked R² ") for text in designs)
    assert not any("accuracy" in text for text in (*texts, *designs))


def test_objectives_are_not_mixed(finished, tmp_path):
    supervised = study(objectives=("error", "latency_ms"))
    with pytest.raises(
        UserError, match=r"holds a study of the objective masked, not supervised, .* --objective masked"
    ):
        supervised.create(finished.folder)
    (tmp_path / "trials.jsonl").write_bytes((finished.folder / "trials.jsonl").read_bytes())
    supervised.write(tmp_path)  # as if someone had edited study.toml
    with pytest.raises(UserError, match="12 of its trials have no accuracy, the score of the objective supervised"):
        StudyResult.read(tmp_path)
    with pytest.raises(UserError, match="the first must be one of error, masked_error"):
        study(objectives=("latency_ms",))
    with pytest.raises(UserError, match="'speed' is unknown; after the first stand latency_ms and predicted@4GFLOP"):
        study(objectives=("error", "speed"))
    with pytest.raises(UserError, match="extrapolates the error of labels"):
        study(objectives=("masked_error", "latency_ms", "predicted@2GFLOP"))
    assert Study.open(finished.folder).objective is OBJECTIVES["masked"]


def test_the_quoted_agreement_is_the_measured_one():
    stored = json.loads((ROOT / "results/masked/agreement.json").read_text())
    chief, seeds = stored["agreement"]["masked seed 0 against supervised seed 0"], stored["seeds"]["supervised"]
    assert MASKED_AGREEMENT.designs == chief["designs"] >= 20
    assert list(MASKED_AGREEMENT.spearman) == chief["spearman"]
    assert list(MASKED_AGREEMENT.kendall) == chief["kendall"]
    assert seeds["expected correlation of two seeds"][0] == MASKED_AGREEMENT.seeds
    assert f"{chief['spearman'][0]:.2f}" in MASKED.notes[1]
