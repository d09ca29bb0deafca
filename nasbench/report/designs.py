"""One TOML file for each network of the front, and the commands that export and train it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from nasbench.files import file_stem, write_atomic
from nasbench.report.bands import more_finals
from nasbench.report.rows import ReportRow
from nasbench.study.study import Study
from nasbench.study.trials import Kind


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


def commands(study: Study, file: Path) -> dict[str, str]:
    """ "export" and "train" -> the command for the design in this file, relative to where the report was written."""
    path, stem = _quoted(file), shlex.quote(f"{file.stem}.onnx")
    data = "" if study.data == "fashion-on-earth" else f" --data {shlex.quote(study.data)}"
    return {
        "export": f"nasbench export {path} -o {stem} --classes {study.classes}",
        "train": f"nasbench train {path}{data}",
    }


def what_next(study: Study, folder: Path, rows: Sequence[ReportRow]) -> list[str]:
    """Lines with the commands to continue an undecided race, and to train and export the most promising searched
    design of the front."""
    found = [row for row in rows if row.on_front and row.kind == Kind.SEARCHED]
    lines = []
    if more := more_finals(rows):
        lines.append(f"To decide it, if the lead is what it seems: nasbench resume {_quoted(folder)} --finals {more}")
    if found:
        best = max(found, key=lambda row: row.promise)
        ways = commands(study, folder / design_files(rows)[best.id])
        lines.append(f"Train {best.name} for use: {ways['train']}")
        lines.append(f"Its ONNX file, untrained, to time it: {ways['export']}")
    return lines


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
