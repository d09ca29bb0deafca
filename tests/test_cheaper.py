"""What stands in for torch's modules during a proxy training computes the same, and is gone afterwards."""

from __future__ import annotations

import copy

import pytest
import torch
from small_networks import NETWORKS
from torch import Tensor, nn

import nasbench
from nasbench.proxy.cheaper import cheaper
from nasbench.proxy.depthwise import DepthwiseConv

LAYOUTS = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last}
# kernel, stride, padding, height and width of the input
CONVOLUTIONS = [
    (7, 1, 3, (9, 8)),
    (7, 1, 3, (4, 4)),
    (7, 2, 3, (9, 8)),
    (7, 3, 2, (10, 11)),
    (5, 1, 2, (6, 6)),
    (5, 2, 2, (7, 8)),
    (5, 2, 0, (9, 9)),
    (9, 1, 4, (5, 9)),
    (4, 1, 0, (6, 5)),
    (13, 1, 6, (7, 7)),
    ((1, 5), 1, (0, 2), (5, 6)),
    ((3, 7), (2, 1), (1, 3), (6, 6)),
]


def noise(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(len(shape) + sum(shape)))


def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any CPU is one on which it pays."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)


def gradients(module: nn.Module, x: Tensor) -> list[Tensor]:
    """Output, the gradient of a fixed weighting of it at the input, and at all parameters."""
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    y = module(x)
    weighting = noise(*y.shape, dtype=y.dtype)
    return [y.detach(), *torch.autograd.grad((y * weighting).sum(), [x, *module.parameters()])]


def assert_same(got: list[Tensor], expected: list[Tensor], tolerance: float) -> None:
    for mine, torchs in zip(got, expected, strict=True):
        assert mine.shape == torchs.shape
        assert (mine - torchs).abs().max() <= tolerance * torchs.abs().max()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_depthwise_gradients_are_torchs(case: tuple[int, int, int, tuple[int, int]], bias: bool, layout: str) -> None:
    kernel, stride, padding, size = case
    conv = nn.Conv2d(3, 3, kernel, stride, padding, groups=3, bias=bias)
    stand_in = copy.deepcopy(conv)
    stand_in.__class__ = DepthwiseConv
    for dtype, tolerance in ((torch.float64, 1e-13), (torch.float32, 1e-5)):
        x = noise(2, 3, *size, dtype=dtype).contiguous(memory_format=LAYOUTS[layout])
        expected, got = (gradients(module.to(dtype), x) for module in (conv, stand_in))
        assert_same(got, expected, tolerance)
        assert got[0].stride() == expected[0].stride()


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(7, 1, 3), (5, 2, 2), (4, 1, 1)])
def test_depthwise_gradients_are_those_of_finite_differences(kernel: int, stride: int, padding: int) -> None:
    conv = nn.Conv2d(2, 2, kernel, stride, padding, groups=2).double()
    conv.__class__ = DepthwiseConv
    x = noise(1, 2, 5, 6).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, *_: conv(x), (x, conv.weight, conv.bias))


def test_a_frozen_weight_or_a_second_derivative_or_autocast_is_torchs_or_refused() -> None:
    conv = nn.Conv2d(4, 4, 5, 1, 2, groups=4)
    stand_in = copy.deepcopy(conv)
    stand_in.__class__ = DepthwiseConv
    x = noise(2, 4, 6, 6, dtype=torch.float32).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        assert stand_in(x).dtype == torch.bfloat16
    (first,) = torch.autograd.grad(stand_in(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()
    stand_in.requires_grad_(False)
    (first,) = torch.autograd.grad(stand_in(x).square().sum(), x, create_graph=True)
    first.sum().backward()
    assert x.grad is not None


KEPT = {
    "narrow": nn.Conv2d(4, 4, 3, padding=1, groups=4),
    "grouped": nn.Conv2d(8, 8, 5, padding=2, groups=4),
    "multiplied": nn.Conv2d(4, 8, 5, padding=2, groups=4),
    "dilated": nn.Conv2d(4, 4, 5, padding=4, dilation=2, groups=4),
    "reflected": nn.Conv2d(4, 4, 5, padding=2, groups=4, padding_mode="reflect"),
    "same": nn.Conv2d(4, 4, 5, padding="same", groups=4),
    "padded by more than the kernel": nn.Conv2d(4, 4, 5, padding=6, groups=4),
}


@pytest.mark.parametrize("name", KEPT)
def test_other_convolutions_stay_torchs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    always(monkeypatch)
    with cheaper(KEPT[name], "float32"):
        assert type(KEPT[name]) is nn.Conv2d


@pytest.mark.parametrize("name", ["repmixer-none-k3", "irmb-none-k5", "mobileone-dbb-k3", "swin-shifted"])
def test_a_network_trains_the_same_and_gets_its_modules_back(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    always(monkeypatch)
    torch.manual_seed(0)
    arch = NETWORKS[name]
    model = nasbench.build(arch, 5).double().train()
    twin = copy.deepcopy(model)
    x = noise(3, 3, arch.resolution, arch.resolution)
    kinds = [type(module) for module in model.modules()]
    with cheaper(twin, "float32"):
        got = gradients(twin, x)
    assert_same(got, gradients(model, x), 1e-9)
    assert [type(module) for module in twin.modules()] == kinds
    for (key, mine), torchs in zip(twin.state_dict().items(), model.state_dict().values(), strict=True):
        assert torch.allclose(mine, torchs, rtol=1e-9, atol=1e-12), key


def test_a_training_that_fails_gives_the_modules_back(monkeypatch: pytest.MonkeyPatch) -> None:
    always(monkeypatch)
    conv = nn.Conv2d(4, 4, 7, padding=3, groups=4)

    def failing() -> None:
        with cheaper(conv, "float32"):
            assert type(conv) is DepthwiseConv
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    assert type(conv) is nn.Conv2d


@pytest.mark.parametrize(("capability", "precision"), [("DEFAULT", "float32"), ("AVX2", "bf16")])
def test_nothing_stands_in_where_it_would_not_pay(
    capability: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    conv = nn.Conv2d(4, 4, 7, padding=3, groups=4)
    always(monkeypatch)
    with cheaper(conv, "float32"):
        assert type(conv) is DepthwiseConv
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    with cheaper(conv, precision):
        assert type(conv) is nn.Conv2d
