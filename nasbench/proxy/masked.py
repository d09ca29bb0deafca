"""Masked-image modelling: hide cells of an image and have the network predict their pixels. Needs no labels.

Every network gets the same task: the pixels of a share `HIDDEN` of a grid of cells are hidden, and the error is the
squared error on hidden pixels divided by their variance about the training mean: 1 for predicting the mean, 0 for
perfect. How they are predicted depends on the network. A network of maps sees the image with hidden pixels in a learned
colour, and a 1x1 convolution with pixel shuffle predicts from its last map (SimMIM, arXiv:2111.09886). A network of
tokens sees only the visible positions, and one transformer layer predicts from these (MAE, arXiv:2111.06377).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pixel_shuffle

from nasbench.arch.metablock import Attention, Conv, DecoderSpec, Embedding, HeadSpec, MetaBlock, Norm
from nasbench.arch.presets.ends import DECODER_EXPANSION
from nasbench.arch.presets.transformers import transformer_layer
from nasbench.blocks.decoder import DecoderModule
from nasbench.errors import UserError
from nasbench.nn.model import Model
from nasbench.proxy.data.augment import Normalisation, ordered_positions
from nasbench.proxy.data.pool import ImagePool
from nasbench.proxy.train import SCORING_BATCH, autocast
from nasbench.study.fidelity import Fidelity
from nasbench.study.runner import Precision

CELL = 32  # side of a cell in pixels at the design's own resolution, as in SimMIM
HIDDEN = 0.6  # share of hidden cells, as in SimMIM
MIN_GRID = 2  # cells a side
# Factors on the fidelity's learning rate, which is chosen for cross-entropy. With SGD the R² of four networks rose by
# half at 6 x and fell at 25 x; with Muon three were best or nearly so at 1 x, and at 6 x a token network predicted no
# better than the mean.
LR_FACTORS = {"sgd": 6, "muon": 1}
DECODER_HEADS = (4, 2, 1)
MASK_STREAM = 0x3A5C  # part of the masks' seed, so that they are independent of batches and shifts


@dataclass(frozen=True)
class MaskedScore:
    """`error` is the squared error on hidden pixels over their squared distance from the training mean."""

    error: float
    images: int


class MaskedImageModel(nn.Module):
    """Images (B, c, R, R) and hidden cells (B, G, G) bool -> predicted images (B, c, R, R); `grid` is G.

    encoder: the design's network, whose head is not used. drops: whether hidden positions are left out (MAE).
    """

    def __init__(self, encoder: Model, cell: int) -> None:
        super().__init__()
        spec, size, colours = encoder.head.spec, encoder.arch.resolution, encoder.arch.in_channels
        if not isinstance(spec, HeadSpec):
            raise UserError(
                f"{encoder.arch.label}: a masked autoencoder's training form has a decoder of its own; "
                "give its encoder with a classifier's head, such as mae_vit_base"
            )
        self.encoder, self.tokens = encoder, spec.tokens
        self.colour = nn.Parameter(torch.zeros(1, colours, 1, 1))  # of hidden pixels; starts at the mean
        channels, side = _last_map(encoder, spec.tokens)
        self.grid = max(MIN_GRID, round(size / cell))
        self.drops = False
        if drops_positions(encoder):
            fitting = max(g for g in range(1, side + 1) if side % g == 0 and g <= self.grid)
            self.drops = fitting >= MIN_GRID
            self.grid = fitting if self.drops else self.grid
        patch = math.ceil(size / side)
        if self.drops:
            self.decoder: nn.Module = _token_decoder(channels, side, patch, spec.tokens, colours)
        else:
            self.decoder = MapDecoder(channels, patch, colours)
        _initialise(self.decoder)

    def forward(self, images: Tensor, hidden: Tensor) -> Tensor:
        size = images.shape[2:]
        pixels = hidden_pixels(hidden, size[0])
        seen = torch.where(pixels, self.colour.to(images.dtype), images)
        painted = self._paint_positions(seen, hidden) if self.drops else self._paint_map(seen)
        return painted[:, :, : size[0], : size[1]]  # where the last map was rounded up, the prediction is larger

    def _paint_map(self, seen: Tensor) -> Tensor:
        return self.decoder(_square(self.encoder.features(seen)[-1], self.tokens))

    def _paint_positions(self, seen: Tensor, hidden: Tensor) -> Tensor:
        """As MAE: hidden positions are removed between the embedding and the first block."""
        x = self.encoder.stem(seen)
        first, side = self.encoder.stages[0], x.shape[2]
        embedding = first[0].mix[0]
        rows = embedding.positioned(x)
        order, places = visible_first(hidden, side)
        kept = order[:, : int((~hidden[0]).sum()) * (side // self.grid) ** 2, None]
        x = embedding.with_tokens(rows.gather(1, kept.expand(-1, -1, rows.shape[2]))).transpose(1, 2).unsqueeze(2)
        x = first[1:](x)
        for stage in self.encoder.stages[1:]:
            x = stage(x)
        painted = self.decoder(x, places)  # (B, N, patch²·c), colours last
        patch = self.decoder.spec.patch
        squares = painted.reshape(len(painted), side, side, patch, patch, -1)
        return squares.permute(0, 5, 1, 3, 2, 4).reshape(len(painted), -1, side * patch, side * patch)


class MapDecoder(nn.Module):
    """(B, C, H, W) -> (B, c, H·patch, W·patch): norm, 1x1 convolution, pixel shuffle."""

    def __init__(self, channels: int, patch: int, colours: int) -> None:
        super().__init__()
        self.patch, self.norm = patch, nn.BatchNorm2d(channels)
        self.predict = nn.Conv2d(channels, colours * patch**2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return pixel_shuffle(self.predict(self.norm(x)), self.patch)


def _token_decoder(channels: int, side: int, patch: int, tokens: int, colours: int) -> DecoderModule:
    """One transformer layer as wide as the encoder."""
    norm, heads = Norm("ln", 1e-6), next(heads for heads in DECODER_HEADS if channels % heads == 0)
    return DecoderModule(
        DecoderSpec(
            norm,
            embed=Conv(channels, channels, bias=True, linear=True),
            embedding=Embedding(channels, side, tokens, "learned" if channels % 4 else "sine"),
            blocks=transformer_layer(Attention(channels, heads, linear=True), norm, DECODER_EXPANSION, "gelu"),
            last_norm=norm,
            predict=Conv(channels, colours * patch**2, bias=True, linear=True),
            patch=patch,
            tokens=tokens,
            mask_ratio=HIDDEN,
        )
    )


def _initialise(decoder: nn.Module) -> None:
    """Small weights, so that the first prediction is nearly the mean."""
    for module in decoder.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def masked_form(encoder: Model, fidelity: Fidelity, seed: int) -> MaskedImageModel:
    """The network with a decoder initialised from `seed`; the cell size is scaled with the proxy's resolution."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MaskedImageModel(encoder, max(1, round(CELL * fidelity.resolution_scale)))


def drops_positions(model: Model) -> bool:
    """Whether the first block after the stem only embeds positions with tokens, so that positions can be left out."""
    block = model.stages[0][0].spec
    return (
        len(block.mix) == 1
        and isinstance(block.mix[0], Embedding)
        and block.mix[0].tokens > 0
        and block == MetaBlock(block.c_in, block.c_out, mix=block.mix)
    )


@torch.no_grad()
def _last_map(encoder: Model, tokens: int) -> tuple[int, int]:
    """Channels and side of the last map at the network's resolution, tokens left out."""
    was_training, size = encoder.training, encoder.arch.resolution
    blank = torch.zeros(1, encoder.arch.in_channels, size, size, device=next(encoder.parameters()).device)
    last = _square(encoder.eval().features(blank)[-1], tokens)
    encoder.train(was_training)
    return last.shape[1], last.shape[2]


def _square(x: Tensor, tokens: int) -> Tensor:
    """(B, C, 1, tokens + S²) -> (B, C, S, S); a map without tokens as it is."""
    if not tokens:
        return x
    side = math.isqrt(x.shape[3] - tokens)
    return x[:, :, 0, tokens:].reshape(len(x), -1, side, side)


# Masks and the loss


def draw_hidden(count: int, grid: int, rng: np.random.Generator) -> Tensor:
    """(count, grid, grid) bool, True where hidden: the same number of cells in every image."""
    hidden = round(HIDDEN * grid**2)
    places = rng.random((count, grid**2)).argsort(1).argsort(1)
    return torch.from_numpy((places < hidden).reshape(count, grid, grid))


def hidden_pixels(hidden: Tensor, size: int) -> Tensor:
    """(B, G, G) -> (B, 1, size, size) bool."""
    return interpolate(hidden[:, None].float(), (size, size), mode="nearest") > 0


def visible_first(hidden: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """(B, N) positions of a side x side map, visible ones first; and the inverse permutation (B, N)."""
    positions = hidden_pixels(hidden, side).flatten(1)
    order = positions.to(torch.uint8).argsort(dim=1, stable=True)
    return order, order.argsort(1)


def hidden_squares(painted: Tensor, images: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """Sums over hidden pixels: squared error, and squared distance from the training mean (0 in normalised images)."""
    pixels = hidden_pixels(hidden, images.shape[2])
    return ((painted.float() - images).square() * pixels).sum(), (images.square() * pixels).sum()


class MaskedLoss:
    """The training loss: (model, images, labels) -> masked error of the batch; labels are ignored."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng([seed, MASK_STREAM])

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        assert isinstance(model, MaskedImageModel)
        hidden = draw_hidden(len(images), model.grid, self.rng).to(images.device)
        error, spread = hidden_squares(model(images, hidden), images, hidden)
        return error / spread.clamp(min=1.0)


@torch.no_grad()
def score_masked(
    model: MaskedImageModel, pool: ImagePool, norm: Normalisation, seed: int, precision: Precision = "float32"
) -> MaskedScore:
    """The masked error of `model` in eval mode; the masks depend on `seed` and the grid only."""
    device, rng = next(model.parameters()).device, np.random.default_rng([seed, MASK_STREAM])
    model.eval()
    error, spread, count = 0.0, 0.0, 0
    for pixels, _ in pool.batches(ordered_positions(len(pool), SCORING_BATCH)):
        if not len(pixels):
            continue
        images = norm.apply(pixels)
        hidden = draw_hidden(len(images), model.grid, rng).to(device)
        with autocast(device, precision):
            painted = model(images, hidden)
        sums = hidden_squares(painted, images, hidden)
        error, spread, count = error + float(sums[0]), spread + float(sums[1]), count + len(images)
    if not math.isfinite(error):
        raise RuntimeError(f"the trained network's masked error on {count} images is {error}; its weights overflowed")
    return MaskedScore(error / max(spread, 1.0), count)
