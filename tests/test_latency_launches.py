"""The kernels that are said to be launched, against onnxruntime's own profile of the same network."""

from pathlib import Path
from typing import Any

import pytest

from nasbench.arch.architecture import Architecture
from nasbench.blocks.op import Op
from nasbench.costs.analytic import operators
from nasbench.latency import features, kernels, measure
from nasbench.latency.export import deploy_form, export_onnx
from nasbench.latency.launches import LAUNCH_RULES, launches

BLOCKS: dict[str, dict[str, Any]] = {
    "mbconv": {"block": "mbconv"},
    "mbconv with a gate": {"block": "mbconv", "se": 0.25},
    "repvgg": {"block": "repvgg"},
    "mobileone": {"block": "mobileone"},
    "repmixer": {"block": "repmixer"},
    "irmb": {"block": "irmb"},
    "irmb attention": {"block": "irmb", "attention": True, "window": 4, "head_dim": 16},
    "mobilevit": {"block": "mobilevit", "patch": 2, "width": 32},
    "transformer": {"block": "transformer", "head_dim": 16},
}


def network(stage: dict[str, Any]) -> Architecture:
    stages = [{"block": "mbconv", "channels": 32, "depth": 1, "stride": 2}]
    stages.append({"channels": 64, "depth": 3, "stride": 2} | stage)
    content = {"name": "one-block", "resolution": 64, "stem": {"kind": "conv", "channels": 16}}
    return Architecture.from_dict(content | {"stages": stages, "head": {"kind": "linear"}})


@pytest.mark.parametrize("name", BLOCKS)
def test_kernels_are_those_of_the_runtimes_profile(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernel by kernel in order: what the two lists share is nearly all that either has."""
    monkeypatch.setattr(measure, "PROFILE_SECONDS", 0.0)
    architecture, path = network(BLOCKS[name]), tmp_path / "net.onnx"
    path.write_bytes(export_onnx(deploy_form(architecture, 10), architecture.resolution))
    reported = measure.profiled_kernels(path)
    launched = launches(operators(architecture, 10))
    shared = kernels.matched(launched, reported)
    counted = [time for time in reported if time.operator not in kernels.UNMODELLED]
    convolutions = [kernel for kernel in launched if kernels.REPORTED.get(kernel.kind) == "Conv"]
    assert len([k for k, _ in shared if k in convolutions]) == len(convolutions)
    assert len(convolutions) == sum(kernels.ALIASES.get(t.operator, t.operator) == "Conv" for t in counted)
    assert len(shared) >= 0.85 * max(len(launched), len(counted))


def op(kind: str, held: int = 0, **fields: Any) -> Op:
    return Op(**{"name": "x", "kind": kind, "macs": 1000, "inputs": 100, "outputs": 100, "held": held} | fields)


CONV = op("pointwise", c_in=16, c_out=16, kernel=1, stride=1, groups=1, area=4, params=100)


@pytest.mark.parametrize("swallowed", sorted(LAUNCH_RULES["onnxruntime"].fused))
def test_what_the_runtime_fuses_launches_no_kernel(swallowed: str) -> None:
    following = op("mul") if swallowed == "scale" else op(swallowed, inputs=100)
    assert [k.kind for k in launches([CONV, following])] == ["pointwise"]
    assert len(launches([CONV, following], runtime="none")) == 2


def test_a_norm_in_front_of_which_a_skip_begins_stays_a_kernel() -> None:
    wide = CONV._replace(outputs=200, c_out=32)
    norm = op("batch_norm", inputs=200, outputs=200)
    assert [k.kind for k in launches([wide, norm])] == ["pointwise"]
    assert [k.kind for k in launches([wide, norm._replace(held=200)])] == ["pointwise", "batch_norm"]


def test_layouts_change_where_an_operator_needs_the_plain_one() -> None:
    gate = [op("pool", flops=0, outputs=16), op("mul", inputs=116)]
    assert [k.kind for k in launches([CONV, *gate, CONV])] == [
        "pointwise",
        "reorder_out",
        "pool",
        "mul",
        "reorder_in",
        "pointwise",
    ]


def test_features_by_hand() -> None:
    """A 3x3 convolution of the image to 24 channels, a 1x1 to 72, at 10 x 10; both have biases."""
    image = op("conv", macs=24 * 27 * 100, params=24 * 28, inputs=300, outputs=2400, c_in=3, c_out=24)
    wide = op("pointwise", macs=24 * 72 * 100, params=72 * 25, inputs=2400, outputs=7200, c_in=24, c_out=72)
    shape = {"kernel": 3, "stride": 1, "groups": 1, "area": 100}
    ops = [
        image._replace(**shape),
        wide._replace(**(shape | {"kernel": 1})),
        op("act:silu", macs=0, inputs=7200, outputs=7200),
    ]
    assert features.network_features(launches(ops)) == pytest.approx(
        {
            "nets": 1.0,
            "weights": 4 * (24 * 28 + 72 * 25),
            "image_conv.launches": 1,
            "image_conv.macs": 32 * 27 * 100,  # 24 channels written as 32
            "image_conv.bytes": 4 * (300 + 3200),
            "pointwise.launches": 1,
            "pointwise.macs": 32 * 80 * 100,
            "pointwise.reads": 32 * 100 * 2 * 16,  # 72 channels are two sets of up to 64
            "pointwise.bytes": 4 * (3200 + 8000),
            "act:silu.launches": 1,
            "act:silu.bytes": 4 * 14400,
        }
    )
    large = launches([op("add", macs=0, inputs=2 * 2**20, outputs=2**20)])
    assert features.network_features(large)["uncached"] == 8 * 2**20
