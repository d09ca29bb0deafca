"""The image files below a folder, and counts with an example of what is left out there."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from nasbench.errors import UserError
from nasbench.proxy.data.decoding import suffixes

# Names that systems, network drives and archive programs put beside a user's files; names that begin with a dot are
# hidden too.
SYSTEM = frozenset({
    "__macosx", "__pycache__", "lost+found", "thumbs.db", "desktop.ini", "$recycle.bin", "system volume information",
    "recycler", "@eadir", "@tmp", "@sharebin", "@recycle", "#recycle", "#snapshot", "@recently-snapshot", "@transcode",
    ".ds_store",
})  # fmt: skip
HIDDEN = "hidden or system files"
SUFFIX = "files whose suffix is none of an image that Pillow reads"
UNREADABLE = "folders that cannot be read"
BROKEN = "links that lead nowhere"
LOOSE = "images outside class folders"
NO_SPLIT = "images in folders that are no split"
NO_CLASS = "class folders without an image that can be read"


@dataclass
class LeftOut:
    """Files that are not used, by reason: their number, their suffixes, and the first of them."""

    count: Counter[str] = field(default_factory=Counter)
    suffixes: dict[str, Counter[str]] = field(default_factory=dict)
    first: dict[str, Path] = field(default_factory=dict)

    def add(self, reason: str, path: Path) -> None:
        self.count[reason] += 1
        self.suffixes.setdefault(reason, Counter())[path.suffix.lower() or "none"] += 1
        self.first.setdefault(reason, path)

    def lines(self) -> tuple[str, ...]:
        """One line in words for each reason."""
        return tuple(self._line(reason) for reason in self.count)

    def _line(self, reason: str) -> str:
        kinds = ", ".join(f"{suffix} {count}" for suffix, count in self.suffixes[reason].most_common(8))
        what = reason if reason in (UNREADABLE, NO_CLASS) else f"{reason} ({kinds})"
        return f"left out: {self.count[reason]} {what}; the first is {self.first[reason]}"


def is_hidden(name: str) -> bool:
    return name.startswith(".") or name.casefold() in SYSTEM


def image_files(root: Path, left_out: LeftOut) -> list[Path]:
    """Every image file below `root`, sorted; links to folders are followed, but not in circles. UserError."""
    try:
        next(root.iterdir(), None)
    except OSError as error:
        raise UserError(
            f"data {str(root)!r} cannot be read: {error.strerror}; allow reading, or give another folder"
        ) from None
    found: list[Path] = []
    _collect(root, frozenset(), False, found, left_out)
    return sorted(found)


def _collect(folder: Path, above: frozenset[Path], hidden: bool, found: list[Path], left_out: LeftOut) -> None:
    """Add the images below `folder` to `found`; above: the folders that it lies in. hidden: whether one of them is."""
    try:
        here, entries = folder.resolve(), sorted(folder.iterdir())
    except (OSError, RuntimeError):
        left_out.add(UNREADABLE, folder)
        return
    if here in above:
        return
    for path in entries:
        out = hidden or is_hidden(path.name)
        if path.is_dir():
            _collect(path, above | {here}, out, found, left_out)
        elif out:
            left_out.add(HIDDEN, path)
        elif path.suffix.lower() not in suffixes():
            left_out.add(SUFFIX, path)
        elif path.is_file():
            found.append(path)
        else:
            left_out.add(BROKEN, path)
