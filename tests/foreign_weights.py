"""Small members of every published family, and their weights as other people's files would hold them."""

from __future__ import annotations

import torch
from torch import Tensor

from nasbench.arch.architecture import Architecture
from nasbench.arch.library import fixed_points
from nasbench.nn.model import Model, build, randomise_norms
from nasbench.weights.key_names import Layout, foreign_names

FIXED_POINTS = fixed_points()


def small(name: str, head: dict | None = None, stem: int | None = None, **stages) -> Architecture:
    """A proxy of a fixed point at 64 px: these fields in every stage, these in the head, this many stem channels."""
    arch = FIXED_POINTS[name]
    changes = {"head": arch.head.model_copy(update=head)} if head else {}
    changes |= {"stem": arch.stem.model_copy(update={"channels": stem})} if stem else {}
    stages = tuple(stage.model_copy(update=stages) for stage in arch.stages)
    return arch.replace(stages=stages, resolution=64, **changes)


NARROW_VIT = {"channels": 64, "stem": 64, "depth": 2, "head_dim": 16}
# The families that a layout file names -> small members of them.
MEMBERS: dict[str, dict[str, Architecture]] = {
    "ACNet": {"acb": small("acb_resnet18", channels=32, stem=32)},
    "ConvNeXt": {"convnext": small("convnext_t", depth=1)},
    "DBB": {"dbb": small("dbb_resnet18", channels=32, stem=32)},
    "EMO": {"emo": small("emo_1m", depth=2)},
    "FastViT": {
        "fastvit_t": small("fastvit_t8", depth=1),
        "fastvit_sa": small("fastvit_sa12", depth=1, channels=64, stem=64),
    },
    "MobileNet": {"mobilenetv1": small("mobilenetv1_025", depth=2, channels=16, stem=16)},
    "MobileNetV2": {"mobilenetv2": small("mobilenetv2_100", depth=2, channels=16, stem=16)},
    "MobileOne": {
        "mobileone_s0": small("mobileone_s0", depth=2, channels=24),
        "mobileone_s4": small("mobileone_s4", depth=2, channels=32, stem=32),
    },
    "MobileViT": {"mobilevit": small("mobilevit_xxs", depth=2)},
    "MobileViTv2": {"mobilevitv2": small("mobilevitv2_050", depth=2)},
    "PVT": {"pvt": small("pvt_tiny", depth=1)},
    "RepVGG": {"repvgg": small("repvgg_a0", depth=3, channels=24, stem=24)},
    "Swin": {"swin": small("swin_t", depth=2, channels=32, stem=32, head_dim=16)},
    "ViT (JAX)": {
        "vit": small("vit_ti16", **NARROW_VIT),
        "hybrid": small("vit_r50_b16", depth=1),
    },
    "ViT hybrid": {"hybrid": small("vit_r50_b16", depth=1)},
    "ViT (torch)": {
        "deit": small("deit_ti", **NARROW_VIT),
        "deit_distilled": small("deit_ti_distilled", **NARROW_VIT),
        "mae": small("mae_base", {"depth": 2, "width": 32, "heads": 2}, **NARROW_VIT),
        "mae_fine_tuned": small("mae_vit_base", **NARROW_VIT),
    },
}


def fresh(arch: Architecture, seed: int = 0) -> Model:
    """The train form with 10 classes and no parameter left at a value that many initialise with."""
    torch.manual_seed(seed)
    model = build(arch, 10).eval()
    generator = torch.Generator().manual_seed(seed)
    randomise_norms(model, generator)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim < 2 or (parameter == parameter.flatten()[0]).all():
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model


def foreign_weights(model: Model, layout: Layout, spelling: int = 0) -> dict[str, Tensor]:
    """The model's weights as `layout` has them, under the first (or a later) name that it accepts for each."""
    names, unnamed = foreign_names(model, layout)
    assert not unnamed
    own, state = model.state_dict(), {}
    for key, sources in names.items():
        source = sources[min(spelling, len(sources) - 1)]
        for name, piece in zip(source, pieces(own[key], len(source))):
            state[name] = (flax_order(name, piece) if layout.flax else piece).clone()
    return state


def pieces(tensor: Tensor, count: int) -> tuple[Tensor, ...]:
    """Tokens one by one; queries, keys and values apart, or queries and the rest."""
    if count == 1:
        return (tensor,)
    if tensor.ndim == 3:
        return tensor.chunk(count, 1)
    third = len(tensor) // 3
    return tensor.split([third] * 3 if count == 3 else [third, 2 * third])


def flax_order(name: str, tensor: Tensor, dim: int = 16) -> Tensor:
    """The inverse of what the importer does, written down by hand: heads apart, input channels first."""
    *_, module, leaf = ("", *name.split("/"))
    attends = module in ("query", "key", "value")
    if leaf == "kernel" and tensor.ndim == 4:
        return tensor.permute(2, 3, 1, 0)
    if leaf == "kernel":
        dense = tensor.T  # in, out
        if module == "out":
            return dense.reshape(-1, dim, dense.shape[1])
        return dense.reshape(dense.shape[0], -1, dim) if attends else dense
    if module.startswith("gn"):
        return tensor.reshape(1, 1, 1, -1)
    return tensor.reshape(-1, dim) if attends else tensor
