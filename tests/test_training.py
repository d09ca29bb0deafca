"""Trainings for use: stopped and resumed to the same weights, what a recipe asks for, what is kept of them."""

from __future__ import annotations

import json
import os
import pickle
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from training_toys import SERIAL, job, recipe, tiny, write_data

import nasbench
from nasbench import cli
from nasbench.errors import UserError
from nasbench.nn.model import build
from nasbench.proxy.evaluate import dataset
from nasbench.training import loop, run
from nasbench.training.images import batch_positions, class_weights, open_images
from nasbench.training.job import BEST, CHECKPOINT, EPOCHS, LAST, TrainingJob, TrainingStatus
from nasbench.training.loop import TrainingDiverged
from nasbench.training.loss import label_loss, load_teacher
from nasbench.training.optimising import freeze, make_optimiser, make_schedule, moving_average
from nasbench.training.run import train_job
from nasbench.training.start import train_designs
from nasbench.training.state import new_state
from nasbench.weights.checkpoints import load_model, read_state_dict
from nasbench.weights.saved import About, read_saved


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_data(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def whole(data: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainingJob, dict[str, object]]:
    """A training of four epochs that nothing interrupts."""
    done = job(tmp_path_factory.mktemp("whole"), data, "epochs=4")
    return done, train_job(done)


def tensors(path: Path) -> dict[str, torch.Tensor]:
    return read_state_dict(path)


def assert_same(first: Path, second: Path) -> None:
    ours, theirs = tensors(first), tensors(second)
    assert ours.keys() == theirs.keys()
    for key, tensor in ours.items():
        assert torch.equal(tensor, theirs[key]), key


def test_a_training_learns_and_keeps_what_it_reached(whole: tuple[TrainingJob, dict[str, object]]) -> None:
    done, metrics = whole
    assert metrics["test_accuracy"] > 0.5  # four colours
    arch, about = read_saved(done.folder / BEST)[:2]
    assert arch.id == tiny().id
    assert about.figures["test_accuracy"] == metrics["test_accuracy"]
    assert about.provenance["recipe.epochs"] == 4
    assert about.classes == dataset(done.data).classes
    images = open_images(dataset(done.data), 16, 3, done.recipe)
    pixels, labels = next(iter(images.test.batches([np.arange(60)])))
    model = nasbench.load_model(done.folder / BEST)  # by what the file says alone
    mean, std = (torch.tensor(values)[:, None, None] for values in (about.normalisation.mean, about.normalisation.std))
    scaled = torch.nn.functional.interpolate(
        pixels.permute(0, 3, 1, 2) / 255, (16, 16), mode="bilinear", antialias=True
    )
    right = (model((scaled - mean) / std).argmax(1) == labels).float().mean()
    assert float(right) == pytest.approx(metrics["test_accuracy"], abs=0.02)


def test_killed_twice_and_resumed_gives_the_same_weights(
    whole: tuple[TrainingJob, dict[str, object]], tmp_path: Path
) -> None:
    """Killed with -9: within the second epoch, and within the fourth."""
    done, metrics = whole
    again = job(tmp_path, done.data, "epochs=4")
    assert again.id == done.id
    for epoch in (2, 4):
        child = os.fork()
        if child == 0:
            step = loop._step

            def deadly(*given: object, epoch: int = epoch, step: object = step) -> None:
                step(*given)
                if TrainingStatus.read(again.folder).epochs > epoch - 1 or epoch == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

            loop._step, loop.REPORT_EVERY_S = deadly, 0.0
            train_job(again)
            os._exit(1)  # it was to be killed before this
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
        assert len(torch.load(again.folder / CHECKPOINT, weights_only=True)["history"]) == epoch - 1
    resumed = train_job(again)
    for name in (BEST, LAST):
        assert_same(done.folder / name, again.folder / name)
    assert {**resumed, "seconds": 0} == {**metrics, "seconds": 0}


@pytest.mark.exhaustive
@pytest.mark.parametrize("change", ["optimiser=adamw", "ema_decay=0.0", "balance=sampler", "balance=weights"])
def test_every_choice_resumes_to_the_same_weights(change: str, data: str, tmp_path: Path, monkeypatch) -> None:
    first, second = (job(tmp_path / name, data, change) for name in "ab")
    train_job(first)
    with monkeypatch.context() as patch:
        patch.setattr(run, "_finish", lambda *given: {})
        patch.setattr(run, "save_checkpoint", _interrupting(run.save_checkpoint))
        with pytest.raises(KeyboardInterrupt):
            train_job(second)
    train_job(second)
    assert_same(first.folder / BEST, second.folder / BEST)
    assert_same(first.folder / LAST, second.folder / LAST)


def test_a_training_stopped_behind_its_last_checkpoint_has_all_epochs_told(data: str, tmp_path: Path, monkeypatch):
    stopped = job(tmp_path, data, "epochs=1")
    with monkeypatch.context() as patch:
        patch.setattr(run, "save_checkpoint", _interrupting(run.save_checkpoint))
        with pytest.raises(KeyboardInterrupt):
            train_job(stopped)
    train_job(stopped)
    assert len((stopped.folder / EPOCHS).read_text().splitlines()) == 2


def _interrupting(save):
    def saved(*given: object) -> None:
        save(*given)
        raise KeyboardInterrupt

    return saved


def test_another_recipe_or_seed_is_another_training(data: str, tmp_path: Path) -> None:
    jobs = [job(tmp_path, data), job(tmp_path, data, "lr=0.01"), job(tmp_path, data, seed=1)]
    jobs.append(job(tmp_path, data, arch=tiny().with_resolution(32)))
    assert len({each.folder for each in jobs}) == 4
    assert pickle.loads(pickle.dumps(jobs[0])) == jobs[0], "it goes to other processes"


def test_a_damaged_checkpoint_is_told(data: str, tmp_path: Path) -> None:
    broken = job(tmp_path, data)
    broken.folder.mkdir(parents=True)
    (broken.folder / BEST).write_bytes(b"of an earlier epoch")
    for content, words in ((b"x", "not a file of plain tensors"), (b"", "is empty")):
        (broken.folder / CHECKPOINT).write_bytes(content)
        with pytest.raises(UserError, match=words):
            train_job(broken)
    torch.save({"version": 1, "id": broken.id, "model": {}}, broken.folder / CHECKPOINT)
    with pytest.raises(UserError, match=r"is damaged .*; remove it, and the training begins anew"):
        train_job(broken)
    torch.save({"version": 1, "id": "another"}, broken.folder / CHECKPOINT)
    with pytest.raises(UserError, match="is no checkpoint of this training"):
        train_job(broken)


def test_a_loss_that_is_not_finite_ends_with_the_step_and_the_remedy(data: str, tmp_path: Path) -> None:
    wild = job(tmp_path, data, "lr=1000", "clip_norm=0", "epochs=3", "optimiser=adamw", "weight_decay=1000")
    with pytest.raises(TrainingDiverged, match=r"at batch \d+ of \d+ in epoch \d; .* --set lr=.* --set clip_norm=1.0"):
        train_job(wild)


def test_patience_ends_a_training_and_the_best_epoch_is_kept(data: str, tmp_path: Path, monkeypatch) -> None:
    accuracies = iter([0.5, 0.7, 0.6, 0.65, 0.9])
    monkeypatch.setattr(run, "_scored", lambda *given: (next(accuracies), 1.0))
    done = job(tmp_path, data, "epochs=5", "patience=2")
    metrics = train_job(done)
    assert (metrics["epochs"], metrics["best_epoch"], metrics["validation_accuracy"]) == (4, 2, 0.7)
    assert read_saved(done.folder / BEST).about.provenance["epoch"] == 2


def test_frozen_stages_keep_weights_and_statistics(data: str, tmp_path: Path) -> None:
    done = job(tmp_path, data, "frozen_stages=1", "layer_decay=0.7")
    begun = new_state(done, dataset(data).classes, 100).model.state_dict()
    train_job(done)
    ended = tensors(done.folder / LAST)
    for key in ended:
        same = torch.equal(begun[key], ended[key])
        assert same == key.startswith(("stem.", "stages.0.")), key
    with pytest.raises(UserError, match=r"frozen_stages = 3: tiny has 2 stages"):
        freeze(build(tiny(), 4), 3)


def test_rates_fall_towards_the_image() -> None:
    model = build(tiny(), 4)
    for optimiser in ("adamw", "muon"):
        made = make_optimiser(model, recipe("layer_decay=0.5", f"optimiser={optimiser}"))
        shares = {id(p): group["share"] for group in made.param_groups for p in group["params"]}
        assert len(shares) == len(list(model.parameters()))
        parts = [model.stem, *(block for stage in model.stages for block in stage), model.head]
        for depth, part in enumerate(reversed(parts)):
            assert {shares[id(p)] for p in part.parameters()} == {0.5**depth}
        decayed = {id(p) for group in made.param_groups if group["weight_decay"] for p in group["params"]}
        assert decayed == {id(p) for p in model.parameters() if p.ndim >= 2 and min(p.shape[0], p[0].numel()) > 1}


def test_the_rate_rises_in_a_line_and_falls_along_a_cosine() -> None:
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = make_schedule(optimiser, recipe("epochs=10", "warmup_epochs=2", "final_lr=0.1"), 5)
    rates = []
    for _ in range(50):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    assert rates[:10] == pytest.approx([(step + 1) / 11 for step in range(10)])
    assert rates[10] == 1.0
    assert rates[30] == pytest.approx(0.1 + 0.9 * 0.5)
    assert optimiser.param_groups[0]["lr"] == pytest.approx(0.1)


def test_the_moving_average_is_that_of_the_weights() -> None:
    model = build(tiny(), 4)
    average = moving_average(model, 0.9)
    assert moving_average(model, 0.0) is None
    expected = None
    for step in range(30):
        with torch.no_grad():
            model.head.classifier.bias.fill_(float(step))
            model.stem[0].mix[0].norm.num_batches_tracked.fill_(step)
        average.update_parameters(model)
        kept = min(0.9, (1 + step) / (10 + step))
        expected = float(step) if step == 0 else kept * expected + (1 - kept) * step
        assert float(average.module.head.classifier.bias[0]) == pytest.approx(expected, rel=1e-5)
    assert int(average.module.stem[0].mix[0].norm.num_batches_tracked) == 29


def test_batches_of_an_epoch() -> None:
    labels, rng = np.array([0] * 90 + [1] * 10), np.random.default_rng(0)
    order = batch_positions(labels, recipe(), rng)
    assert [len(batch) for batch in order] == [32] * 3
    assert len(set(np.concatenate(order))) == 96
    assert [len(batch) for batch in batch_positions(labels[:20], recipe(), rng)] == [20]
    drawn = np.concatenate([np.concatenate(batch_positions(labels, recipe("balance=sampler"), rng)) for _ in range(30)])
    assert labels[drawn].mean() == pytest.approx(0.5, abs=0.05)
    weights = class_weights(labels, 2)
    assert float(weights[torch.from_numpy(labels)].mean()) == pytest.approx(1.0)
    assert float(weights[1] / weights[0]) == pytest.approx(9.0)


def test_uneven_classes_are_scored_balanced(tmp_path: Path) -> None:
    metrics = train_job(job(tmp_path, write_data(tmp_path, uneven=True), "balance=weights"))
    assert metrics["accuracy_is"] == "balanced"


def test_a_network_learns_from_a_teacher(whole: tuple[TrainingJob, dict[str, object]], tmp_path: Path) -> None:
    done, _ = whole
    learning = job(tmp_path, done.data, "teacher_share=1.0", teacher=str(done.folder / BEST))
    assert learning.id != job(tmp_path, done.data, "teacher_share=1.0").id
    assert train_job(learning)["test_accuracy"] > 0.3
    assert read_saved(learning.folder / BEST).about.provenance["teacher"] == str(done.folder / BEST)
    norm = open_images(dataset(done.data), 16, 3, done.recipe).norm
    with pytest.raises(UserError, match=r"tells 10 classes apart .*, and the data has 2"):
        load_teacher(done.folder / BEST, ("cat", "dog"), norm, "cpu")
    teacher = load_teacher(done.folder / BEST, dataset(done.data).classes, norm, "cpu")
    images = torch.rand(2, 3, 16, 16) * 255
    assert torch.allclose(teacher.answers(images), load_model(done.folder / BEST)(norm.of(images)), atol=1e-5)


def test_fine_tuning_begins_from_weights_at_another_size(
    whole: tuple[TrainingJob, dict[str, object]], tmp_path: Path
) -> None:
    done, _ = whole
    tuned = job(tmp_path, done.data, "lr=1e-6", arch=tiny(resolution=32), weights=str(done.folder / BEST))
    classes = dataset(done.data).classes
    begun, trained = new_state(tuned, classes, 100).model.state_dict(), tensors(done.folder / BEST)
    assert all(torch.equal(begun[key], trained[key]) for key in trained)
    other = new_state(tuned, classes[:7], 100).model.state_dict()
    differing = [key for key in trained if other[key].shape != trained[key].shape]
    assert set(differing) == {"head.classifier.weight", "head.classifier.bias"}
    named_otherwise = new_state(tuned, [f"other {name}" for name in classes], 100).model.state_dict()
    assert not torch.equal(named_otherwise["head.classifier.weight"], trained["head.classifier.weight"])
    assert all(torch.equal(other[key], trained[key]) for key in trained if key not in differing)


def test_a_training_without_labels_is_one_to_begin_from(
    data: str, tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tiny.toml").write_text(tiny().to_toml())
    words = ["train", "tiny.toml", "--data", data, "--runner", "serial", "--set", "batch_size=64", "--epochs", "2"]
    assert cli.main([*words, "--objective", "masked", "--out", "painted"]) == 0
    assert "masked R² on the validation images" in capsys.readouterr().out
    painted = next(Path("painted").glob("*/best.safetensors"))
    about = read_saved(painted).about
    assert about.classes == ()
    assert about.provenance["objective"] == "masked"
    assert "test_accuracy" not in about.figures
    assert 0 < about.figures["validation_masked_r2"] < 1
    assert cli.main(["publish", str(painted), "--to", "hub"]) == 2
    assert "was trained without labels and tells no classes apart" in capsys.readouterr().err
    tuned = job(tmp_path, data, "epochs=1", weights=str(painted), labels=0.5)
    assert train_job(tuned)["test_images"] == 60
    assert read_saved(tuned.folder / BEST).about.provenance["labels"] == 0.5
    begun = new_state(tuned, dataset(data).classes, 128).model.state_dict()
    same = {key for key, tensor in tensors(painted).items() if torch.equal(begun[key], tensor)}
    assert begun.keys() - same == {"head.classifier.weight", "head.classifier.bias"}


def test_a_share_of_the_labels_is_of_every_class_and_of_no_test_image(data: str) -> None:
    whole, part = (open_images(dataset(data), 16, 3, recipe(), labels=share) for share in (1.0, 0.5))
    assert len(part.training) == len(whole.training) // 2
    assert len(part.validation) == len(whole.validation) // 2
    assert len(part.test) == len(whole.test)
    assert np.bincount(part.labels).tolist() == [16, 16, 16, 16]


def test_masked_training_resumes_and_all_of_it_learns(data: str, tmp_path: Path, monkeypatch) -> None:
    first, second = (job(tmp_path / name, data, objective="masked") for name in "ab")
    assert first.id != job(tmp_path, data).id
    train_job(first)
    with monkeypatch.context() as patch:
        patch.setattr(run, "save_checkpoint", _interrupting(run.save_checkpoint))
        with pytest.raises(KeyboardInterrupt):
            train_job(second)
    train_job(second)
    assert_same(first.folder / LAST, second.folder / LAST)
    state = new_state(first, (), 128)
    held = {id(p) for group in state.optimiser.param_groups for p in group["params"]}
    left = {name for name, p in state.model.named_parameters() if id(p) not in held}
    assert {name.split(".")[1] for name in left} == {"head"}


def test_the_loss_of_mixed_labels() -> None:
    from nasbench.training.augment import Mixed

    logits, labels = torch.randn(6, 4), torch.arange(6) % 4
    plain = torch.nn.functional.cross_entropy
    one = label_loss(logits, Mixed(labels, labels.flip(0), 0.3), 0.1, None)
    both = [plain(logits, own, label_smoothing=0.1) for own in (labels, labels.flip(0))]
    assert torch.allclose(one, 0.3 * both[0] + 0.7 * both[1])


@pytest.mark.exhaustive
def test_several_networks_end_in_a_table_and_a_picture(
    data: str, tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, depth in (("small", 1), ("large", 3)):
        stages = [{"channels": 8, "depth": depth, "block": "mbconv", "downsample": "conv"}]
        arch = nasbench.Architecture.from_dict({"name": name, "resolution": 32, "stages": stages})
        Path(f"{name}.toml").write_text(arch.to_toml())
    words = ["train", "small.toml", "large.toml", "--data", data, "--runner", "serial", "--seeds", "2"]
    words += ["--resolution", "16", "--epochs", "1", "--set", "batch_size=64", "--out", "out", "--tensorboard"]
    assert cli.main(words) == 0
    shown = capsys.readouterr()
    assert "small" in shown.out
    assert "large, seed 1: " in shown.err
    files = {path.name for path in Path("out").iterdir()}
    assert {"training.csv", "curves.csv", "curves.png", "curves.svg", "curves.pdf", "environment.json"} <= files
    runs = sorted(path for path in Path("out").iterdir() if path.is_dir())
    assert len(runs) == 4
    assert list((runs[0] / "tensorboard").iterdir())
    before = {path: path.stat().st_mtime_ns for path in Path("out").glob("*/*")}
    assert cli.main([*words, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["networks"]
    assert {path: path.stat().st_mtime_ns for path in Path("out").glob("*/*")} == before, "nothing is trained again"
    assert [row["seeds"] for row in rows] == [2, 2]
    assert all(row["test_accuracy_min"] <= row["test_accuracy_mean"] <= row["test_accuracy_max"] for row in rows)
    assert About.of(load_model(Path("out") / rows[0]["best_model"])).provenance["seed"] in (0, 1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["emo_1m", "--recipe", "nope"], "unknown training recipe 'nope'"),
        (["emo_1m", "--set", "lrr=1"], "--set 'lrr=1': write KEY=VALUE with a key of a training recipe: epochs"),
        (["emo_1m", "--set", "lr=-1"], "lr = -1"),
        (["emo_1m", "--set", "optimiser=adam"], "optimiser = 'adam'"),
        (["emo_1m", "--resolution", "100"], "resolution 100 is not a multiple of the total stride"),
        (["emo_1m", "--weights", "none.pt"], "--weights none.pt: there is no such file"),
        (["emo_1m", "emo_2m", "--weights", "mine.pt"], "mine.pt"),
        (["emo_1m", "--teacher", "none"], "--teacher none: there is no such file"),
        (["mae_vit_base_pretrain", "--resolution", "64"], "mae_vit_base"),
        (["nowhere#1"], "nowhere"),
        (["emo_1m", "--data", "nowhere"], "nowhere' is neither a known name"),
        (
            ["emo_1m", "--objective", "masked", "--labels", "0.5"],
            "--labels: training with the objective masked",
        ),
        (["emo_1m", "--set", "frozen_stages=9"], "frozen_stages = 9: emo_1m has 5 stages"),
    ],
    ids=str,
)
def test_bad_input_is_one_line_before_anything_is_written(
    words: list[str], message: str, data: str, tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NASBENCH_CACHE", str(tmp_path / "cache"))
    given = ["--data", data] if "--data" not in words else []
    assert cli.main(["train", *words, *given, "--out", "nowhere-else"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert message in error
    assert not Path("nowhere-else").exists()


def test_designs_of_a_study_are_named_by_place_or_id() -> None:
    from nasbench.training.designs import design

    folder = Path(__file__).parent.parent / "results" / "default-former"
    assert design(f"{folder}#1").id == design(f"{folder}#{design(f'{folder}#1').id[:8]}").id
    assert design(f"{folder}#fastvit_t8").name == "fastvit_t8"
    for which, words in (("99", "lists"), ("zz", "no design of it is called so"), ("", "no design")):
        with pytest.raises(UserError, match=words):
            design(f"{folder}#{which}")


def test_the_api_trains_as_the_command_does(data: str, tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(tiny().to_toml())
    found = train_designs(
        [tmp_path / "tiny.toml"], data, epochs=1, changes=["batch_size=64"], out=tmp_path / "out", runner="serial"
    )
    assert found.rows()[0]["network"] == "tiny"
    assert list(found.curves()["epoch"]) == [1]
    assert SERIAL.kind == "serial"
