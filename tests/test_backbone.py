"""A network as other code uses it: a backbone of maps, with another classifier, compiled, exported, copied, saved."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from foreign_weights import MEMBERS
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

import nasbench
from nasbench import cli
from nasbench.arch.architecture import Architecture
from nasbench.errors import UserError
from nasbench.nn.backbone import Backbone
from nasbench.nn.model import Model, build, reparameterise
from nasbench.weights.checkpoints import load_model, save_weights


def shallow(arch: Architecture) -> Architecture:
    """With one block a stage, since tracing many takes its time; of Swin's blocks every second shifts its windows."""
    depths = (stage.model_copy(update={"depth": 2 if stage.block == "swin" else 1}) for stage in arch.stages)
    return arch.replace(stages=tuple(depths))


# One small network of each published family; a masked autoencoder, which has no classes, stands apart.
FAMILIES = {family: shallow(next(iter(members.values()))) for family, members in MEMBERS.items()}
MASKED = MEMBERS["ViT (torch)"]["mae"]


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest) -> Model:
    torch.manual_seed(0)
    return build(FAMILIES[request.param], 4).eval()


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_maps_have_the_channels_and_strides_that_are_told(model: Model, images: Tensor) -> None:
    backbone = Backbone(model).eval()
    for size in (64, 128) if model.arch.head.kind not in ("token", "pooled_norm") else (64,):
        pictures = images if size == 64 else images.repeat(1, 1, 2, 2)
        maps = backbone(pictures)
        assert [tuple(x.shape) for x in maps] == [
            (2, channels, size // stride, size // stride)
            for channels, stride in zip(backbone.channels, backbone.strides)
        ]
    assert backbone.feature_info.channels() == backbone.channels
    assert backbone.feature_info.reduction()[-1] == model.arch.total_stride
    last = Backbone(model, [len(maps) - 1]).eval()(pictures)
    assert len(last) == 1
    assert torch.equal(last[0], maps[-1])


@torch.no_grad()
def test_features_and_head_are_the_whole(model: Model, images: Tensor) -> None:
    features = model.forward_features(images)
    assert features.shape[:2] == (2, model.num_features)
    assert torch.equal(model.forward_head(features), model(images))
    vectors = model.forward_head(features, pre_logits=True)
    assert vectors.shape == (2, model.num_features)
    if not model.head.more_classifiers:
        assert torch.equal(model.head.classifier(vectors), model(images))


@pytest.mark.exhaustive
@torch.no_grad()
def test_the_classifier_can_be_another(model: Model, images: Tensor) -> None:
    other = copy.deepcopy(model)
    other.reset_classifier(7)
    assert other(images).shape == (2, 7)
    assert other.num_classes == 7
    assert reparameterise(other)(images).shape == (2, 7)
    other.reset_classifier(0)
    assert other(images).shape == (2, model.num_features)
    assert model(images).shape == (2, 4), "the one copied stays as it was"


@pytest.mark.exhaustive
@torch.no_grad()
def test_copied_saved_and_loaded_it_computes_the_same(
    model: Model, images: Tensor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = model(images)
    assert torch.equal(copy.deepcopy(model)(images), expected)
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    buffer.seek(0)
    again = build(model.arch, 4).eval()
    again.load_state_dict(torch.load(buffer, weights_only=True))
    assert torch.equal(again(images), expected)
    save_weights(model, tmp_path / "own.safetensors")
    assert torch.equal(load_model(tmp_path / "own.safetensors")(images), expected)
    assert cli.main(["describe", str(tmp_path / "own.safetensors"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["id"] == model.arch.id
    words = ["publish", str(tmp_path / "own.safetensors"), "--to", str(tmp_path / "hub"), "--licence", "mit"]
    assert cli.main(words) == 0
    assert torch.equal(load_model(tmp_path / "hub" / "model.safetensors")(images), expected)
    maps = nasbench.load_model(tmp_path / "own.safetensors", features_only=True)(images)
    assert all(torch.equal(one, two) for one, two in zip(maps, Backbone(model).eval()(images)))


@pytest.mark.exhaustive
@torch.no_grad()
def test_compiled_and_exported_it_computes_the_same(model: Model, images: Tensor) -> None:
    expected = model(images)
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="eager", fullgraph=True)  # a break in the graph would be an error
    assert torch.allclose(compiled(images), expected, atol=1e-5)
    exported = torch.export.export(model, (images,)).module()
    assert torch.allclose(exported(images), expected, atol=1e-5)


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One process, as a group of its own."""
    store = tmp_path_factory.mktemp("group") / "store"
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_wrapped_for_several_processes_every_weight_learns(model: Model, images: Tensor, group: None) -> None:
    wrapped = DistributedDataParallel(copy.deepcopy(model).train())
    wrapped(images).square().mean().backward()
    assert all(p.grad is not None for p in wrapped.parameters()), "else wrapping needs find_unused_parameters"


@pytest.mark.exhaustive
def test_sharded_over_processes_every_weight_learns(model: Model, images: Tensor, group: None) -> None:
    from torch.distributed.device_mesh import init_device_mesh  # slow to load
    from torch.distributed.fsdp import fully_shard

    sharded = copy.deepcopy(model).train()
    mesh = init_device_mesh("cpu", (1,))
    for block in (block for stage in sharded.stages for block in stage):
        fully_shard(block, mesh=mesh)
    fully_shard(sharded, mesh=mesh)
    sharded(images).square().mean().backward()
    assert all(p.grad is not None for p in sharded.parameters())


class Pyramid(nn.Module):
    """A small feature pyramid (arXiv:1612.03144) with one convolution that says what is where."""

    def __init__(self, channels: list[int], classes: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(count, 8, 1) for count in channels)
        self.predict = nn.Conv2d(8, classes, 3, padding=1)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        x, found = None, []
        for each, lateral in zip(reversed(maps), reversed(self.lateral)):
            own = lateral(each)
            x = own if x is None else own + nn.functional.interpolate(x, own.shape[2:])
            found.append(self.predict(x))
        return found


def segmentation_loss(answers: list[Tensor]) -> Tensor:
    """Of the largest map: which of five classes each place is of."""
    return nn.functional.cross_entropy(answers[-1], torch.zeros(2, *answers[-1].shape[2:], dtype=torch.long))


def detection_loss(answers: list[Tensor]) -> Tensor:
    """Of every map: whether a thing lies at a place, and how far its four sides are (FCOS, arXiv:1904.01355)."""
    there = sum(nn.functional.binary_cross_entropy_with_logits(x[:, 0], torch.ones_like(x[:, 0])) for x in answers)
    return there + sum(nn.functional.l1_loss(x[:, 1:].exp(), torch.full_like(x[:, 1:], 8.0)) for x in answers)


@pytest.mark.parametrize("loss", [segmentation_loss, detection_loss])
def test_heads_for_dense_tasks_learn_on_it(
    loss: Callable[[list[Tensor]], Tensor], model: Model, images: Tensor
) -> None:
    backbone = Backbone(copy.deepcopy(model)).train()
    loss(Pyramid(backbone.channels, 5)(backbone(images))).backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in backbone.parameters() if p.grad is not None)
    assert any(p.grad is not None and float(p.grad.abs().max()) > 0 for p in backbone.stem.parameters())


def test_what_cannot_be_asked_for(model: Model) -> None:
    with pytest.raises(UserError, match=r"out_indices \[9\]: .* has stages 0 to"):
        Backbone(model, [9])
    with pytest.raises(UserError, match="num_classes -1: give the number of classes"):
        model.reset_classifier(-1)


@torch.no_grad()
def test_a_masked_autoencoder_gives_maps_and_has_no_classifier(images: Tensor) -> None:
    encoder = build(MASKED, 1).eval()
    (last,) = Backbone(encoder).eval()(images)
    assert last.shape == (2, encoder.num_features, 4, 4)
    with pytest.raises(UserError, match="has no classifier"):
        encoder.reset_classifier(10)
