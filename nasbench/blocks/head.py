"""A network's end: pooling and linear classifiers. What it costs: `head_cost.py`."""

from __future__ import annotations

from torch import Tensor, nn

from nasbench.arch.metablock import HeadSpec
from nasbench.blocks.metablock import MetaBlockModule
from nasbench.blocks.norm import make_norm

LINEAR_DEVIATION = 0.02  # of fresh classifiers, as of all linear layers


class HeadModule(nn.Module):
    """Blocks, norm, pooling, classifier: (B, C, H, W) -> (B, classes)."""

    def __init__(self, spec: HeadSpec, num_classes: int) -> None:
        super().__init__()
        self.spec = spec
        self.blocks = nn.Sequential(*(MetaBlockModule(block) for block in spec.blocks))
        self.norm = make_norm(spec.norm, spec.features)
        self.adaptive = nn.AdaptiveAvgPool2d(1)
        self.classifier: nn.Module = nn.Linear(spec.features, num_classes)
        more = spec.tokens - 1 if spec.pool == "token" else 0
        self.more_classifiers = nn.ModuleList(nn.Linear(spec.features, num_classes) for _ in range(more))

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(self.before_pooling(x))

    def logits(self, x: Tensor) -> Tensor:
        """What `before_pooling` gave -> (B, classes)."""
        if self.spec.pool != "token":
            return self.classifier(self.pooled(x))
        heads = (self.classifier, *self.more_classifiers)
        logits = [head(x[:, :, 0, index]) for index, head in enumerate(heads)]
        return sum(logits[1:], logits[0]) / len(logits) if len(logits) > 1 else logits[0]

    def before_pooling(self, x: Tensor) -> Tensor:
        """The last map, (B, features, H, W), or the row of tokens before its positions."""
        x = self.blocks(x)
        return x if self.spec.norm_last else self.norm(x)

    def pooled(self, x: Tensor) -> Tensor:
        """What `before_pooling` gave -> (B, features), what a classifier sees; of several tokens the first."""
        if self.spec.norm_last:
            return self.norm(self._pooled(x)).flatten(1)
        return x[:, :, 0, 0] if self.spec.pool == "token" else self._pooled(x).flatten(1)

    def reset(self, num_classes: int) -> None:
        """Fresh classifiers of so many classes; 0 for none, and the vectors come out as they are."""
        like = next(self.parameters())

        def fresh() -> nn.Module:
            if not num_classes:
                return nn.Identity()
            made = nn.Linear(self.spec.features, num_classes, device=like.device, dtype=like.dtype)
            nn.init.trunc_normal_(made.weight, std=LINEAR_DEVIATION)
            nn.init.zeros_(made.bias)
            return made

        self.classifier = fresh()
        self.more_classifiers = nn.ModuleList(fresh() for _ in self.more_classifiers)

    def _pooled(self, x: Tensor) -> Tensor:
        """(B, C, 1, 1), the mean over the positions."""
        if self.spec.pool == "adaptive":
            return self.adaptive(x)
        return x[:, :, :, self.spec.tokens :].mean((2, 3), keepdim=True)
