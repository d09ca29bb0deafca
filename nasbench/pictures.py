"""How all figures look, and figures as files: PNG and SVG as drawn, and PDF as wide as one column of a two-column page.

No date and no random names inside, so that the same figures give the same files.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nasbench.files import write_atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's seven colours, told apart by the colour-blind, then Paul Tol's muted ones; shapes say the same again.
COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"),
    *("#999933", "#882255", "#332288", "#661100", "#888888", "#44AA99", "#AA4499"),
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h", "p", "d", "H")
DASHES = ("-", "--", "-.", ":")
INK, FAINT = "#222222", "#B8B8B8"
INCHES = (8.2, 5.4)
COLUMN = 3.5  # inches, as IEEE and ACM set two columns
# Figures for a column are laid out wider and then shrunk, so that letters of 8 points come to 5.6: the 5 to 7 points
# that journals ask for.
LAID_OUT = 5.0
POINTS = 72  # an inch
TRUETYPE = 42  # letters stay letters, as publishers ask
KINDS = ("png", "svg", "pdf")
# What keeps the date of writing, and the library's version, out of a file of each kind.
UNDATED: dict[str, dict[str, None]] = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}


def empty_figure(inches: tuple[float, float] = INCHES, dpi: int = 160) -> Figure:
    """A figure without axes, laid out when it is drawn."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=inches, dpi=dpi, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def empty_axes(
    title: str, x_label: str, y_label: str, inches: tuple[float, float] = INCHES, grid: Literal["y", "both"] = "y"
) -> Any:
    """Axes of a new figure, titled and labelled as all figures of results are."""
    axes = empty_figure(inches).add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, color="0.92", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel(x_label, color=INK)
    axes.set_ylabel(y_label, color=INK)
    axes.set_title(title, loc="left", fontsize=11, color=INK)
    return axes


def picture(figure: Figure, kind: str) -> bytes:
    """The figure as the content of a "png", "svg" or "pdf" file, as large as it was drawn."""
    from matplotlib import rc_context

    content = io.BytesIO()
    with rc_context({"svg.hashsalt": "nasbench", "pdf.fonttype": TRUETYPE}):
        figure.savefig(content, format=kind, metadata=UNDATED[kind])
    return content.getvalue()


def save(figure: Figure, folder: Path, name: str, narrow: Figure | None = None) -> list[Path]:
    """Write NAME.png, NAME.svg and NAME.pdf, the last from `narrow` where it is given.

    The figure that the PDF is made from is laid out anew for the column, and of no use afterwards.
    """
    contents = {kind: picture(figure, kind) for kind in ("png", "svg")} | {"pdf": column(narrow or figure)}
    for kind, content in contents.items():
        write_atomic(folder / f"{name}.{kind}", content)
    return [folder / f"{name}.{kind}" for kind in KINDS]


def column(figure: Figure) -> bytes:
    """The figure as a PDF of a column's width, all of it made smaller: letters, lines and distances.

    One that is laid out when it is drawn is laid out for the column first, for good; one whose layout is settled, since
    labels were placed in it, should be no wider than `LAID_OUT`.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_mixed import MixedModeRenderer
    from matplotlib.backends.backend_pdf import Op, PdfFile, RendererPdf

    width, height = figure.get_size_inches()
    if figure.get_layout_engine() is not None and width > LAID_OUT:
        width, height = LAID_OUT, height * (LAID_OUT / width) ** 0.5  # what is narrower needs more lines
        figure.set_size_inches(width, height)
    factor, content = COLUMN / width, io.BytesIO()
    figure.set_dpi(POINTS)
    with rc_context({"pdf.fonttype": TRUETYPE}):
        file = PdfFile(content, metadata=UNDATED["pdf"])
        file.newPage(COLUMN, factor * height)
        file.output(factor, 0, 0, factor, 0, 0, Op.concat_matrix)  # what is drawn from here on
        file.width, file.height = width, height  # lines are cut off beyond it, before they are made smaller
        renderer = MixedModeRenderer(figure, width, height, POINTS, RendererPdf(file, POINTS, height, width))
        figure.draw(renderer)
        renderer.finalize()
        file.finalize()
    return content.getvalue()
