"""What the recipes share: widths, branches, gates, norms."""

from __future__ import annotations

from typing import Literal, NamedTuple

from nasbench.arch.metablock import ActName, Branch, Conv, Norm, SqueezeExcite

BN = Norm("bn", 1e-5)
LN = Norm("ln", 1e-5)
GN = Norm("gn", 1e-5)  # over all channels and positions
LN6 = Norm("ln", 1e-6)
EMO_BN = Norm("bn", 1e-6)  # EMO uses 1e-6 throughout
EMO_LN = Norm("ln", 1e-6)


class Place(NamedTuple):
    """Where a block stands: the channels that arrive, its stride, whether it is the entry block that makes its stage's
    transition, the side of the map that arrives, and its number among the blocks of its stage."""

    c_in: int
    stride: int = 1
    entry: bool = False
    side: int = 8
    turn: int = 0


def make_divisible(value: float, divisor: int = 8) -> int:
    """`value` rounded to a multiple of `divisor`, never below 90 % of it (MobileNet's rule)."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def widened(channels: int, expansion: float) -> int:
    """`expansion` times the channels, rounded down, and at least one."""
    return max(1, int(channels * expansion))


def branches_of(choice: str, kernel: int, same_shape: bool) -> tuple[Branch, ...]:
    """The branches behind a `branches` option; an identity needs an unchanged shape, a 1x1 a larger kernel."""
    identity = (Branch("identity"),) if same_shape else ()
    pointwise = (Branch("1x1"),) if kernel > 1 else ()
    if choice == "none":
        return ()
    if choice == "repvgg":  # arXiv:2101.03697
        return (Branch("kxk"), *pointwise, *identity)
    if choice == "mobileone":  # arXiv:2206.04040, four over-parameterised branches as in S0
        return (*(Branch("kxk"),) * 4, *pointwise, *identity)
    if kernel == 1:
        return (Branch("kxk"),)
    if choice == "acb":  # arXiv:1908.03930
        return (Branch("kxk"), Branch("kx1"), Branch("1xk"))
    return (Branch("kxk"), Branch("1x1"), Branch("avg"), Branch("1x1_kxk"))  # "dbb", arXiv:2103.13425


def depthwise(
    channels: int,
    kernel: int,
    stride: int,
    choice: str,
    norm: Norm,
    act: ActName | None,
    se: SqueezeExcite | None = None,
) -> Conv:
    """A depthwise convolution with the branches of `choice`; DBB drops its 1x1 there, as its authors do."""
    branches = branches_of(choice, kernel, stride == 1)
    if choice == "dbb":
        branches = tuple(branch for branch in branches if branch.kind != "1x1")
    return Conv(channels, channels, kernel, stride, channels, norm=norm, act=act, branches=branches, se=se)


def squeeze_excite(channels: int, ratio: float, act: ActName = "relu") -> SqueezeExcite | None:
    """A gate through `ratio` x the channels; none where the ratio is 0."""
    return SqueezeExcite(channels, max(1, int(channels * ratio)), act) if ratio else None


def skip_of(c_in: int, c_out: int, stride: int, entry: bool) -> Literal["identity"] | None:
    """The identity, but never in a stage's entry block."""
    return "identity" if stride == 1 and c_in == c_out and not entry else None
