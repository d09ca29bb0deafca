"""How long short commands take beside a bare interpreter, and which heavy libraries each of them imports.

    python benchmarks/startup.py
    python benchmarks/startup.py --repeats 20 --out startup.json

Times are medians over runs that take turns, so that a busy moment meets all commands alike. `latency predict` needs a
fitted profile of this machine (`nasbench latency fit`), `front` a results folder.
"""

from __future__ import annotations

import argparse
import json
import platform
import shlex
import statistics
import subprocess
import sys
import time
from pathlib import Path

import nasbench
from nasbench.hardware import cpu_cores, cpu_model

COMMANDS = (
    "--help",
    "profile emo_1m",
    "space sample metablock --budget 500MFLOP -n 3",
    "latency predict emo_1m",
    "front results/default",
)
LIBRARIES = ("torch", "ray", "sklearn", "scipy", "numpy", "pandas", "rich", "pydantic")
# Runs the command line as `python -m nasbench` does, then says on the last line of stderr what was imported.
PROBE = f"""
import sys
try:
    from nasbench.cli import main
    code = main(sys.argv[1:])
except SystemExit as stop:
    code = stop.code
print(*(name for name in {LIBRARIES!r} if name in sys.modules), file=sys.stderr)
sys.exit(code)
"""


def seconds(arguments: list[str]) -> float:
    """Wall-clock time of one interpreter with these arguments."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
    return time.perf_counter() - start


def imported(command: str) -> list[str]:
    """Which of LIBRARIES the command has imported when it ends; its own error where it fails."""
    done = subprocess.run([sys.executable, "-c", PROBE, *shlex.split(command)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"nasbench {command}: {done.stderr.strip()}")
    return done.stderr.splitlines()[-1].split()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commands", nargs="*", default=list(COMMANDS), help="what follows `nasbench` (default: five)")
    parser.add_argument("--repeats", type=int, default=9, help="runs of each (default: 9)")
    parser.add_argument("--out", type=Path, help="also write the figures here as JSON")
    options = parser.parse_args()

    libraries = {command: imported(command) for command in options.commands}  # and fills the caches of bytecode
    runs = {"": ["-c", "pass"]} | {name: ["-m", "nasbench", *shlex.split(name)] for name in options.commands}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(options.repeats):
        for name, arguments in runs.items():
            times[name].append(seconds(arguments))
    medians = {name: statistics.median(values) for name, values in times.items()}
    bare = medians.pop("")
    about = f"nasbench {nasbench.__version__}, Python {platform.python_version()}, {cpu_model()}, {cpu_cores()} cores"
    print(f"{about}; medians of {options.repeats}")
    print(f"{bare:.3f} s  a bare interpreter")
    for name, value in medians.items():
        print(f"{value:.3f} s  (+{value - bare:.3f})  nasbench {name}: {' '.join(libraries[name]) or 'none'}")
    if options.out:
        content = {"machine": about, "repeats": options.repeats, "bare_s": bare, "seconds": medians}
        options.out.write_text(json.dumps(content | {"libraries": libraries}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
