"""What installing takes, and whether what is installed works, in a fresh environment and an empty folder.

    python -m build && python benchmarks/install.py dist/*.whl
    python benchmarks/install.py dist/*.whl --python python3.13 --out install.json

Installs the wheel alone, without an extra, by constraints.txt; then asks for the version, searches a tiny space, writes
its report, exports a network to ONNX, and asks for what needs an extra, which is to be one line with the remedy.
Prints seconds and megabytes as JSON. `make dist` runs it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RUNNER = """kind = "serial"
[[ladder]]
name = "screen"
recipe = "proxy-even"
trials = 2
samples = 32
evaluate = 50
[[ladder]]
name = "full"
recipe = "proxy-even"
trials = 2
samples = 64
evaluate = 50
"""
# Of nasbench: words, and the exit code that they are to have.
STEPS = (
    ("--version", 0),
    ("doctor", None),
    ("search --space small --budget 32MFLOP --trials 2 --runner tiny.toml --out mine", 0),
    ("report mine -o mine.html", 0),
    ("export emo_1m -o emo_1m.onnx", 0),
    ("explain emo_1m.safetensors photo.jpg --out explained", 2),
    ("export-study mine --optuna mine.db", 0),
    ("search --space small --budget 32MFLOP --strategy optuna:tpe --runner tiny.toml --out other", 0),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--out", type=Path, help="write the figures here as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        figures = install(options.wheel.resolve(), options.python, Path(name))
        figures["steps"] = [step(Path(name), words, code) for words, code in STEPS]
        figures["help_seconds"] = min(step(Path(name), "--help", 0)["seconds"] for _ in range(5))
    print(json.dumps(figures, indent=1))
    if options.out:
        options.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def install(wheel: Path, python: str, folder: Path) -> dict[str, object]:
    """A fresh environment with the wheel in it: what that took."""
    environment = folder / "environment"
    subprocess.run([python, "-m", "venv", environment], check=True)
    pip, start = environment / "bin" / "pip", time.perf_counter()
    subprocess.run([pip, "install", "--quiet", "-c", ROOT / "constraints.txt", wheel], check=True)
    seconds = time.perf_counter() - start
    listed = subprocess.run([pip, "list", "--format=json"], capture_output=True, text=True, check=True).stdout
    site = next((environment / "lib").glob("python3*"))
    return {
        "python": site.name,
        "install_seconds": round(seconds),
        "packages": len(json.loads(listed)),
        "megabytes": round(sum(path.stat().st_size for path in site.rglob("*") if path.is_file()) / 1e6),
        "wheel_megabytes": round(wheel.stat().st_size / 1e6, 1),
    }


def step(folder: Path, words: str, code: int | None) -> dict[str, object]:
    """Run it in an empty folder; ends all where its exit code is another one, or its error is more than a line."""
    work = folder / "work"
    work.mkdir(exist_ok=True)
    (work / "tiny.toml").write_text(RUNNER, encoding="utf-8")
    start = time.perf_counter()
    command = [folder / "environment" / "bin" / "nasbench", *words.split()]
    done = subprocess.run(command, cwd=work, capture_output=True, text=True)
    seconds = round(time.perf_counter() - start, 2)
    told = done.stderr.strip().splitlines()
    remedied = code != 2 or (len(told) == 1 and "pip install" in told[0])
    if done.returncode != (done.returncode if code is None else code) or not remedied:
        raise SystemExit(f"nasbench {words}: exit code {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}")
    return {"step": words, "seconds": seconds, "exit": done.returncode, **({"told": told[0]} if code == 2 else {})}


if __name__ == "__main__":
    main()
