"""Grad-CAM: where in an image the evidence for a class lies, on the last map that the class is read from."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from nasbench.arch.metablock import HeadSpec
from nasbench.nn.backbone import stage_maps
from nasbench.nn.model import Model


def grad_cam(model: Model, image: Tensor, label: int) -> np.ndarray:
    """(h, w), 0 to 1: Grad-CAM (arXiv:1610.02391) of `label` in `image` (1, c, R, R), by captum.

    All 0 where nothing speaks for the class. Of the last stage whose map has more than one position; where the class is
    read from a learned token, of the map before the last block, since the last positions have no say any more.
    """
    from captum.attr import LayerGradCam

    index, layer = _layer(model)
    with torch.enable_grad():
        found = LayerGradCam(model, layer).attribute(image, target=label, relu_attributions=True)
    heat = _as_map(found.detach()[0, 0], stage_maps(model)[index].tokens).cpu().double().numpy()
    return heat / heat.max() if heat.max() > 0 else np.zeros_like(heat)


def _layer(model: Model) -> tuple[int, nn.Module]:
    """The stage that is looked at, by its place and as a module."""
    last, spec = model.stages[-1], model.head.spec
    if isinstance(spec, HeadSpec) and spec.pool == "token":
        return len(model.stages) - 1, last[-2] if len(last) > 1 else last
    wide = [place for place, given in enumerate(stage_maps(model)) if given.stride < model.arch.resolution]
    index = wide[-1] if wide else len(model.stages) - 1
    return index, model.stages[index]


def _as_map(heat: Tensor, tokens: int) -> Tensor:
    """(h, w); of a row of tokens and positions the positions alone."""
    if not tokens:
        return heat
    side = round((heat.shape[-1] - tokens) ** 0.5)
    return heat[0, tokens:].reshape(side, side)
