"""What is known of one image's answer, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nasbench.explaining.attention import AttentionLayer


@dataclass(frozen=True)
class Explained:
    """One image: its pixels (R, R, 3) uint8, the class that is explained with its share, the heat map, the layers."""

    path: Path
    pixels: np.ndarray
    label: str
    share: float
    heat: np.ndarray
    layers: tuple[AttentionLayer, ...]

    @property
    def choosing(self) -> tuple[AttentionLayer, ...]:
        """The attentions that have something to choose from: small maps leave some with a single position."""
        return tuple(layer for layer in self.layers if layer.choices > 1)
