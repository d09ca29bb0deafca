"""Blocks overwrite tensors only where nobody sees it: hooks, modes and modules put in get what was computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from small_networks import NETWORKS
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import nasbench
from nasbench.arch.metablock import Act, Conv, MetaBlock, SpaceToDepth
from nasbench.blocks import overwriting
from nasbench.blocks.conv import ConvModule
from nasbench.blocks.metablock import MetaBlockModule
from nasbench.blocks.norm import ACTIVATIONS, activated, make_act
from nasbench.nn.model import MaskedAutoencoder

# One of each block, transition, stem and head, and all that stride.
CHOSEN = [name for name in NETWORKS if name.endswith(("-none-k3", "-s2", "-x2.5", "-strides", "swin-shifted"))]
# A layer scale, a sum of branches, an activation behind the skip, a gate.
FEW = ["irmb-none-k3", "repmixer-none-k3", "mobileone-dbb-k3", "basic-none-k3", "mbconv-none-k3"]


@pytest.fixture(autouse=True)
def small_tensors_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overwriting, "LARGE", 0)


def built(name: str) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    arch = NETWORKS[name]
    return nasbench.build(arch, 5).eval(), torch.randn(2, 3, arch.resolution, arch.resolution)


def output(model: nn.Module, x: Tensor) -> Tensor:
    if isinstance(model, MaskedAutoencoder):
        return model(x, torch.Generator().manual_seed(0))[1]
    return model(x)


class Kept:
    """Tensors that were seen, and what they held then."""

    def __init__(self) -> None:
        self.seen: list[tuple[Tensor, Tensor]] = []

    def see(self, *values: object) -> None:
        self.seen += [(value, value.detach().clone()) for value in values if isinstance(value, Tensor)]

    def before(self, module: nn.Module, given: Any) -> None:
        self.see(*given)

    def after(self, module: nn.Module, given: Any, made: object) -> None:
        self.see(made)

    def untouched(self) -> bool:
        return bool(self.seen) and all(torch.equal(value, then) for value, then in self.seen)


@pytest.mark.parametrize("recording", [True, False], ids=["grad", "no_grad"])
@pytest.mark.parametrize("name", CHOSEN)
def test_hooks_see_what_each_module_was_given_and_what_it_made(name: str, recording: bool) -> None:
    model, x = built(name)
    kept = Kept()
    with torch.set_grad_enabled(recording):
        expected = output(model, x)
        for module in model.modules():
            module.register_forward_pre_hook(kept.before)
            module.register_forward_hook(kept.after)
        assert torch.equal(output(model, x), expected)
    assert kept.untouched()


@pytest.mark.exhaustive
@pytest.mark.parametrize("deploy", [False, True], ids=["train-form", "deploy-form"])
@pytest.mark.parametrize("name", FEW)
def test_a_single_hook_is_enough(name: str, deploy: bool) -> None:
    model, x = built(name)
    model = nasbench.reparameterise(model) if deploy else model
    for place, module in model.named_modules():
        for register in (module.register_forward_hook, module.register_forward_pre_hook):
            kept = Kept()
            handle = register(kept.after if register == module.register_forward_hook else kept.before)
            with torch.no_grad():
                model(x)
            assert not kept.seen or kept.untouched(), place
            handle.remove()


def test_a_hook_on_all_modules_sees_them_too() -> None:
    model, x = built(FEW[0])
    kept = Kept()
    handle = register_module_forward_hook(kept.after)
    with torch.no_grad():
        model(x)
    handle.remove()
    assert kept.untouched()


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
@pytest.mark.parametrize("name", FEW)
def test_backward_hooks_can_be_added(name: str) -> None:
    model, x = built(name)
    model(x).sum().backward()
    plain = {key: value.grad for key, value in model.named_parameters()}
    model.zero_grad()
    for module in model.modules():
        module.register_full_backward_hook(lambda module, given, got: None)
    model(x).sum().backward()
    assert all(torch.allclose(value.grad, plain[key], atol=1e-5) for key, value in model.named_parameters())


def watching(kind: type, kept: Kept) -> Any:
    class Watching(kind):  # type: ignore[misc]
        def _look(self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
            made = function(*args, **(kwargs or {}))
            if getattr(function, "__name__", "").split(".")[0] in ("batch_norm", "native_batch_norm"):
                kept.see(made[0] if isinstance(made, tuple) else made)
            return made

        __torch_function__ = __torch_dispatch__ = _look

    return Watching()


@pytest.mark.parametrize("kind", [TorchFunctionMode, TorchDispatchMode])
def test_modes_see_what_operators_made(kind: type) -> None:
    model, x = built(FEW[0])
    kept = Kept()
    with torch.no_grad(), watching(kind, kept):
        model(x)
    assert kept.untouched()


def test_a_module_put_in_may_keep_what_it_makes() -> None:
    model, x = built(FEW[0])
    kept = Kept()

    class Keeping(nn.BatchNorm2d):
        def forward(self, x: Tensor) -> Tensor:
            made = super().forward(x)
            kept.see(made)
            return made

    for module in model.modules():
        if isinstance(module, ConvModule) and isinstance(getattr(module, "norm", None), nn.BatchNorm2d):
            module.norm = Keeping(module.norm.num_features).eval()
    with torch.no_grad():
        model(x)
    assert kept.untouched()


def test_parameters_can_be_mapped_over() -> None:
    torch.manual_seed(0)
    block = MetaBlockModule(MetaBlock(4, 4, mix=(Conv(4, 4, 3),), skip="identity", layer_scale=0.5)).eval()
    x, scales = torch.randn(1, 4, 5, 5), torch.rand(3, 4, 1, 1)

    def scaled(scale: Tensor) -> Tensor:
        return torch.func.functional_call(block, {"layer_scale": scale}, (x,))

    with torch.no_grad():
        assert torch.allclose(torch.func.vmap(scaled)(scales), torch.stack([scaled(scale) for scale in scales]))


@pytest.mark.parametrize("name", FEW)
def test_mixed_precision_gives_the_same_with_and_without_autograd(name: str) -> None:
    model, x = built(name)
    with torch.autocast("cpu", torch.bfloat16):
        expected = model(x)
        with torch.no_grad():
            got = model(x)
    assert got.dtype == expected.dtype
    assert torch.equal(got, expected)


def test_a_map_that_a_stage_returned_stays() -> None:
    block = MetaBlockModule(MetaBlock(4, 4, mix=(SpaceToDepth(4, 1),), post=(Act("relu"),)))
    given = torch.randn(1, 4, 5, 5)
    then = given.clone()
    with torch.no_grad():
        assert torch.equal(block(given), then.relu())
    assert torch.equal(given, then)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_called_by_itself_leaves_its_input(name: str) -> None:
    given = torch.randn(2, 3, 4, 4)
    then = given.clone()
    with torch.no_grad():
        make_act(name)(given)
    assert torch.equal(given, then)


def test_where_nobody_looks_memory_is_saved() -> None:
    act, norm, x = make_act("relu"), nn.BatchNorm2d(3).eval(), torch.randn(2, 3, 4, 4)
    made = norm(x)
    assert activated(act, made, norm) is made
    norm.register_forward_hook(lambda module, given, made: None)
    assert activated(act, norm(x), norm) is not made
    silu, plain = make_act("silu"), torch.randn(2, 3)
    assert activated(silu, plain) is not plain, "autograd needs silu's input"
    with torch.no_grad():
        assert activated(silu, plain) is plain
