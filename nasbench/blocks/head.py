"""A network's end: pooling and linear classifiers. What it costs: `head_cost.py`."""

from __future__ import annotations

from torch import Tensor, nn

from nasbench.arch.metablock import HeadSpec
from nasbench.blocks.metablock import MetaBlockModule
from nasbench.blocks.norm import make_norm


class HeadModule(nn.Module):
    """Blocks, norm, pooling, classifier: (B, C, H, W) -> (B, classes)."""

    def __init__(self, spec: HeadSpec, num_classes: int) -> None:
        super().__init__()
        self.spec = spec
        self.blocks = nn.Sequential(*(MetaBlockModule(block) for block in spec.blocks))
        self.norm = make_norm(spec.norm, spec.features)
        self.adaptive = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(spec.features, num_classes)
        more = spec.tokens - 1 if spec.pool == "token" else 0
        self.more_classifiers = nn.ModuleList(nn.Linear(spec.features, num_classes) for _ in range(more))

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(x)
        if self.spec.norm_last:
            return self.classifier(self.norm(self._pooled(x)).flatten(1))
        x = self.norm(x)
        if self.spec.pool != "token":
            return self.classifier(self._pooled(x).flatten(1))
        heads = (self.classifier, *self.more_classifiers)
        logits = [head(x[:, :, 0, index]) for index, head in enumerate(heads)]
        return sum(logits[1:], logits[0]) / len(logits) if len(logits) > 1 else logits[0]

    def _pooled(self, x: Tensor) -> Tensor:
        """(B, C, 1, 1), the mean over the positions."""
        if self.spec.pool == "adaptive":
            return self.adaptive(x)
        return x[:, :, :, self.spec.tokens :].mean((2, 3), keepdim=True)
