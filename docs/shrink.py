"""Screenshots with few colours, small enough for the documentation.

python docs/shrink.py build/look/*.png --to docs
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

COLOURS = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--to", type=Path, default=Path("docs"))
    options = parser.parse_args()
    for path in options.files:
        target = options.to / path.name
        few = Image.open(path).convert("RGB").quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        few.save(target, optimize=True)
        print(f"{target}: {target.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
