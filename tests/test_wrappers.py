"""Checkpoints as training code writes them: the weights are found in any wrapper, and what does not fit says why."""

from __future__ import annotations

import argparse
import collections
import datetime
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from foreign_weights import MEMBERS, foreign_weights, fresh, small
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel

from nasbench import cli
from nasbench.errors import UserError
from nasbench.nn.model import Model, build, reparameterise
from nasbench.weights.checkpoints import WeightsError, load_model, load_weights, read_state_dict, save_weights
from nasbench.weights.key_names import layouts

EMO = small("emo_1m", depth=1)
PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.", "net.encoder.", "whatever.")
DICTS = ("state_dict", "model_state_dict", "model", "checkpoint", "anything")
ONE_EACH = [
    pytest.param(index, layout, next(iter(MEMBERS[layout.family].values())), id=layout.title.replace(" ", "-"))
    for index, layout in enumerate(layouts())
]


@pytest.fixture(scope="module")
def emo() -> Model:
    return fresh(EMO)


def same(one: nn.Module, other: nn.Module) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(tensor, theirs[key]) for key, tensor in one.state_dict().items())


def prefixed(state: dict, prefix: str) -> dict:
    return {prefix + key: tensor for key, tensor in state.items()}


@pytest.mark.parametrize(("seed", "layout", "arch"), ONE_EACH)
def test_wrappers_come_off_in_any_order_and_depth(seed, layout, arch):
    rng, source = np.random.default_rng(seed), fresh(arch)
    for own in (False, True):
        content = source.state_dict() if own else foreign_weights(source, layout)
        prefixes = () if layout.flax and not own else PREFIXES
        for prefix in rng.permutation(prefixes)[: rng.integers(1, 5)]:
            content = prefixed(content, prefix)
        content |= {"n_averaged": torch.tensor(7), "step": torch.tensor([3]), "initted": torch.tensor(True)}
        for name in rng.permutation(DICTS)[: rng.integers(0, 4)]:
            content = {"epoch": 3, "best": np.float64(0.7), "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}},
                       str(name): content}  # fmt: skip
        target = build(arch, 10)
        load_weights(target, content)
        assert same(source, target)


def wrapped(model: Model) -> dict[str, dict]:
    """What common code writes."""
    state = model.state_dict()
    other = {key: tensor + 1 for key, tensor in state.items()}
    half_compiled = {key.replace("stages.0.", "stages.0._orig_mod.", 1): x for key, x in state.items()}
    return {
        "averaged beside raw": {"model": other, "model_ema": AveragedModel(model, use_buffers=True).state_dict()},
        "ema_pytorch": {**prefixed(other, "online_model."), **prefixed(state, "ema_model."), "initted": torch.ones(1)},
        "DINO": {"student": prefixed(other, "module.backbone."), "teacher": prefixed(state, "backbone.")},
        "Lightning": {
            "state_dict": {**prefixed(state, "model."), "criterion.weight": torch.ones(10), "auc.n": torch.tensor(1)},
            "hyper_parameters": argparse.Namespace(lr=0.1),
            "callbacks": {"ModelCheckpoint": {"best": torch.ones(3)}},
            "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(3)}}}],
        },
        "one block compiled": half_compiled,
        "a moment of the optimiser": {"net": state, "optim": {"exp_avg": other}},
        "arrays": {"weights": {key: tensor.numpy() for key, tensor in state.items()}, "names": np.array(["a", "b"])},
    }


def test_what_common_code_writes(emo):
    for what, content in wrapped(emo).items():
        target = build(EMO, 10)
        load_weights(target, content)
        assert same(emo, target), what


def test_the_model_may_be_wrapped_too(emo, tmp_path):
    for wrap in (AveragedModel, torch.compile, nn.DataParallel):
        target = wrap(build(EMO, 10))
        load_weights(target, prefixed(emo.state_dict(), "module."))
        save_weights(target, tmp_path / "m.safetensors")
        assert same(emo, load_model(tmp_path / "m.safetensors"))
    with pytest.raises(TypeError, match=r"a Linear holds no network that nasbench.build returned"):
        load_weights(nn.Linear(1, 1), {})


def test_two_networks_that_fit_alike_are_not_chosen_from(emo):
    state = emo.state_dict()
    other = {key: tensor + 1 for key, tensor in state.items()}
    with pytest.raises(UserError, match="two networks in the file fit: first and second; save the one that you mean"):
        load_weights(build(EMO, 10), {"first": state, "second": other})
    target = build(EMO, 10)
    load_weights(target, {"first": state, "second": dict(state)})
    assert same(emo, target)


def test_an_average_that_lacks_something_is_not_replaced_in_silence(emo):
    state = emo.state_dict()
    learned = {key: tensor for key, tensor in state.items() if "running" not in key}
    with pytest.raises(WeightsError, match=r"under ema do not fit .* missing .*; those under model do: save them in a"):
        load_weights(build(EMO, 10), {"ema": learned, "model": state})


class Plain:
    def __init__(self) -> None:
        self.a, self.b = 1, torch.ones(2)


class Settings(dict):
    pass


BESIDE = (
    np.float64(71.2), np.float32(1), np.arange(3), collections.defaultdict(list, a=[1]), collections.Counter("aab"),
    Path("runs"), datetime.datetime(2026, 1, 1), argparse.Namespace(lr=0.1), Plain(), Settings(a=1), {1, 2},
    frozenset("a"), range(3), 1 + 2j, nn.Linear(1, 1),
)  # fmt: skip


@pytest.mark.parametrize("legacy", [False, True])
def test_what_lies_beside_the_weights_does_not_matter(tmp_path, emo, legacy):
    plain = BESIDE[:1] + BESIDE[3:5] + BESIDE[7:8] if legacy else BESIDE
    content = {"state_dict": emo.state_dict(), **{f"item {i}": item for i, item in enumerate(plain)}}
    torch.save(content, tmp_path / "w.pt", _use_new_zipfile_serialization=not legacy)
    target = build(EMO, 10)
    load_weights(target, tmp_path / "w.pt")
    assert same(emo, target)


class Bomb:
    def __reduce__(self):
        return eval, ("open('never', 'w')",)


def test_functions_in_a_file_are_not_called(tmp_path, monkeypatch, emo):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": emo.state_dict(), "extra": Bomb()}, "bomb.pt")
    load_weights(build(EMO, 10), "bomb.pt")
    assert not Path("never").exists()


def test_what_holds_no_weights_says_what_it_holds(tmp_path, emo):
    empty, module, cut, pickled = (tmp_path / name for name in ("empty.pt", "module.pt", "cut.pt", "pickled.pt"))
    empty.touch()
    torch.save(emo, module)
    torch.save(emo.state_dict(), cut)
    cut.write_bytes(cut.read_bytes()[:5000])
    pickled.write_bytes(pickle.dumps({"a": 1}, protocol=4))
    for path, text in (
        (empty, r"is empty \(0 bytes\), so it was not written to its end; give a whole file"),
        (module, r"holds a nasbench.nn.model.Model, not a state dict; save model.state_dict\(\)"),
        (cut, "not a file of plain tensors"),
        (pickled, "not a file of plain tensors"),
    ):
        with pytest.raises(UserError, match=f"{path.name}: {text}"):
            read_state_dict(path)
    torch.save({"model": emo, "epoch": 1}, module)
    with pytest.raises(UserError, match=r"'model' is a nasbench.nn.model.Model object, of which no weights are read"):
        load_weights(emo, module)


FORMS = [arch for family, members in MEMBERS.items() for name, arch in members.items() if family in ("RepVGG", "DBB")]


@pytest.mark.parametrize("arch", FORMS, ids=lambda arch: arch.name)
def test_the_other_form_is_named_and_the_advice_works(arch):
    source = fresh(arch)
    merged = reparameterise(source)
    for layout in (None, *(one for one in layouts() if one.family in ("RepVGG", "DBB"))):
        if layout and arch.name.split("_")[0] not in layout.family.lower():
            continue
        train = foreign_weights(source, layout) if layout else source.state_dict()
        deploy = foreign_weights(merged, layout) if layout else merged.state_dict()
        with pytest.raises(WeightsError, match=r"of the deploy form.*; load them into nasbench.reparameterise"):
            load_weights(build(arch, 10), prefixed(deploy, "module."))
        with pytest.raises(WeightsError, match=r"of the train form.*; load them into the train form and re-param"):
            load_weights(reparameterise(build(arch, 10)), train)
        target = reparameterise(build(arch, 10))
        load_weights(target, deploy)
        assert same(merged, target)


@pytest.mark.parametrize("arch", [EMO, MEMBERS["FastViT"]["fastvit_t"], MEMBERS["ViT (torch)"]["deit"]])
def test_a_head_may_be_left_fresh(arch):
    source, target = fresh(arch), fresh(arch, seed=1)
    encoder = {key: tensor for key, tensor in source.state_dict().items() if not key.startswith("head.")}
    head = {key: tensor.clone() for key, tensor in target.state_dict().items() if key.startswith("head.")}
    with pytest.raises(WeightsError, match=r"the weights have no head for .*; load them with fresh_head=True"):
        load_weights(target, encoder)
    with pytest.raises(WeightsError, match=r"the weights have no head for .* left over \(1\): other_norm.w; load"):
        load_weights(target, {**encoder, "other_norm.w": torch.ones(3)})
    others = prefixed(encoder, "backbone.") | {"decode_head.weight": torch.ones(3)}
    for content in (encoder, others, {**encoder, "decode_head.weight": torch.ones(3)}):
        with pytest.warns(UserWarning, match="left as they were: head."):
            loaded = load_weights(target, content, fresh_head=True)
        assert set(loaded.fresh) == set(head)
        state = target.state_dict()
        assert all(torch.equal(state[key], tensor) for key, tensor in {**encoder, **head}.items())
    assert loaded.passed_over == ("decode_head.weight",)
    with pytest.raises(WeightsError, match="left over"):
        load_weights(target, {**encoder, "stages.9.weight": torch.ones(3)}, fresh_head=True)


def test_another_number_of_classes_can_be_left_fresh(emo):
    target = build(EMO, 7)
    with pytest.raises(WeightsError, match="the weights have 10 classes, the model 7; build it with num_classes=10"):
        load_weights(target, emo.state_dict())
    load_weights(build(EMO, 10), emo.state_dict())
    with pytest.warns(UserWarning, match=r"left as they were: head.classifier.weight, head.classifier.bias$"):
        load_weights(target, emo.state_dict(), fresh_head=True)
    assert torch.equal(target.state_dict()["head.norm.weight"], emo.state_dict()["head.norm.weight"])


@pytest.mark.parametrize("channels", [1, 4])
def test_images_of_other_channels_are_named_and_the_advice_works(emo, channels):
    state, key = emo.state_dict(), "stem.0.mix.0.conv.weight"
    state |= {key: torch.ones(24, channels, 3, 3)}
    advice = rf"of images with {channels} channels?, emo_1m takes 3; load them with adapt_stem=True, .* = {channels}$"
    with pytest.raises(WeightsError, match=advice):
        load_weights(build(EMO, 10), state)
    with pytest.warns(UserWarning, match=f"adapted to 3 input channels: {key}"):
        loaded = load_weights(build(EMO, 10), state, adapt_stem=True)
    assert loaded.adapted == (key,)
    load_weights(build(EMO.with_in_channels(channels), 10), state)


def test_numbers_that_the_model_cannot_hold_are_refused(emo):
    state, key = emo.state_dict(), "stem.0.mix.0.norm.running_var"
    half = build(EMO, 10).half()
    before = {name: tensor.clone() for name, tensor in half.state_dict().items()}
    with pytest.raises(UserError, match=rf"{key}: 1e\+05 is beyond torch.float16, whose largest is 6.55e\+04"):
        load_weights(half, state | {key: torch.full((24,), 1e5)})
    with pytest.raises(UserError, match=r"numbers of type torch.int8 are no weights"):
        load_weights(half, state | {key: torch.ones(24, dtype=torch.int8)})
    with pytest.raises(WeightsError, match=f"wrong shape .*{key} is 1 in the file, 24 in the model"):
        load_weights(half, state | {key: torch.ones(1)})
    assert all(torch.equal(before[name], tensor) for name, tensor in half.state_dict().items())


@pytest.mark.parametrize("deployed", [False, True])
@pytest.mark.parametrize("arch", [*FORMS[:1], EMO], ids=lambda arch: arch.name)
def test_each_tensor_keeps_its_precision_in_a_file(tmp_path, arch, deployed):
    model = fresh(arch).half()
    model = reparameterise(model) if deployed else model
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.float().running_var.fill_(1e5)
    model.head.classifier.bfloat16()
    save_weights(model, tmp_path / "mixed.safetensors")
    again = load_model(tmp_path / "mixed.safetensors").state_dict()
    for key, tensor in model.state_dict().items():
        assert (again[key].dtype, torch.equal(again[key], tensor)) == (tensor.dtype, True)


def test_a_changed_classifier_is_saved_and_any_other_change_is_refused(tmp_path):
    model = build(EMO, 1000)
    model.head.classifier = nn.Linear(model.head.classifier.in_features, 10)
    save_weights(model, tmp_path / "ten.safetensors")
    again = load_model(tmp_path / "ten.safetensors")
    assert again.num_classes == 10
    assert same(model, again)
    state, metadata = load_file(tmp_path / "ten.safetensors"), {"architecture": EMO.to_toml(), "num_classes": "1000"}
    save_file(state, tmp_path / "old.safetensors", metadata)
    assert same(model, load_model(tmp_path / "old.safetensors"))
    del state["head.classifier.bias"]
    save_file(state, tmp_path / "odd.safetensors", {**metadata, "num_classes": "many"})
    with pytest.raises(UserError, match="its metadata say num_classes 'many', which is no number of classes"):
        load_model(tmp_path / "odd.safetensors")
    model.head.norm = nn.Identity()
    with pytest.raises(UserError, match=r"the network was changed after it was built \(head.norm.weight, "):
        save_weights(model, tmp_path / "other.safetensors")


def run_export(tmp_path: Path, capsys, name: str, *options: str) -> tuple[int, str, str]:
    code = cli.main(["export", name, "-o", str(tmp_path / "o.onnx"), *options])
    return code, *capsys.readouterr()


def test_the_command_line_takes_either_form_and_speaks_its_own_words(tmp_path, capsys):
    arch = small("repvgg_a0", depth=1, channels=16, stem=16)
    (tmp_path / "net.toml").write_text(arch.to_toml())
    net, file = str(tmp_path / "net.toml"), str(tmp_path / "w.safetensors")
    source = fresh(arch)
    for model in (source, reparameterise(source)):
        save_weights(model, file)
        code, out, err = run_export(tmp_path, capsys, net, "--weights", file, "--classes", "10")
        assert (code, err) == (0, "")
        assert "w.safetensors" in out
    code, out, err = run_export(tmp_path, capsys, net, "--weights", file)
    assert code == 2
    assert "the weights have 10 classes, the model 1000; give --classes 10, or --fresh-head to leave the" in err
    code, out, err = run_export(tmp_path, capsys, net, "--weights", file, "--fresh-head")
    assert (code, err) == (0, "")
    assert "w.safetensors; fresh: head.classifier.weight, head.classifier.bias" in out
    with torch.no_grad():
        source.head.classifier.weight[3] = float("nan")
    save_weights(source, file)
    code, out, err = run_export(tmp_path, capsys, net, "--weights", file, "--classes", "10")
    assert code == 2
    assert "w.safetensors: weights that are NaN or infinite: head.classifier.weight; a training that" in err
    assert cli.main(["export", net, "-o", str(tmp_path)]) == 2
    assert "is a folder; give the file to write, such as" in capsys.readouterr().err
