"""One TOML file for each network of the front: what a user takes away."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nasbench.files import file_stem, write_atomic
from nasbench.report.rows import ReportRow


def design_files(rows: Sequence[ReportRow]) -> dict[str, str]:
    """Row id -> path of its design relative to the study's folder, for the rows on the front."""
    files: dict[str, str] = {}
    for row in rows:
        if row.on_front:
            stem = file_stem(row.name, row.id)
            path = f"designs/{stem}.toml"
            files[row.id] = path if path not in files.values() else f"designs/{stem}-{row.id}.toml"
    return files


def _header(row: ReportRow) -> str:
    lines = [
        f"id {row.id}; {row.kind}",
        f"{row.words.noun} {row.accuracy:.4f} measured on {row.split}, mean of {row.seeds} seed(s), "
        f"proxy rung {row.rung}" + (f"; without the {row.lacks} so far" if row.lacks else ""),
    ]
    if row.latency is not None:
        lines.append(f"latency {row.latency:.3f} ms, {row.latency_kind}")
    return "".join(f"# {line}\n" for line in lines)


def write_designs(folder: Path, rows: Sequence[ReportRow]) -> list[Path]:
    """Write `designs/*.toml` for the front and remove those of an earlier front; the paths written."""
    (folder / "designs").mkdir(exist_ok=True)
    files = design_files(rows)
    written = []
    for row in rows:
        if row.id in files:
            written.append(folder / files[row.id])
            write_atomic(written[-1], _header(row) + row.arch.to_toml())
    for old in set((folder / "designs").glob("*.toml")) - set(written):
        old.unlink()
    return written
