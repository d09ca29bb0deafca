"""Runs every command and every block of Python of the documentation, in the order of the pages, in a scratch folder.

    python docs/run_commands.py                  # all of it, a quarter of an hour on two cores; `make docs-check`
    python docs/run_commands.py docs/tour.md     # of some pages
    python docs/run_commands.py --quick          # what takes a second or two as it stands
    python docs/run_commands.py --list           # what would be run, what is left out, and why

A command runs as it stands, but where it trains or measures for minutes: `SMALLER` says what is put in its place. What
cannot run here is in `LEFT_OUT` with the reason. Both are read from the top, the first that fits counts. Ends with 1
where a command fails. The tests run the quick ones: the others beside them would starve the searches that tests make.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import os
import re
import runpy
import shlex
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = (
    "README.md", "docs/tour.md", "docs/searching.md", "docs/data.md", "docs/models.md", "docs/python.md",
    "docs/latency.md", "docs/strategies.md", "docs/bench.md", "docs/scaling.md", "docs/table.md",
    "docs/gallery.md",
)  # fmt: skip
MOST_OUTPUT = 2000  # characters of a failed command's output

# A command that fits the pattern, and what stands in its place. "{}" is the command as it was.
# Latencies are those of a device whose measurements are shipped, since measuring waits until the machine is quiet.
TOY = "--runner toys.toml --device server"
TOYS = "--out results/table-toys --time-limit 30s " + TOY
FEW = "--networks emo_1m mobilevit_xxs fastvit_t8 " + TOY
SMALLER = (
    (r"search .*--device|search --budget 64MBmem", "{} --trials 2 --runner toys.toml"),
    (r"search --budget 10ms --data", "search --budget 40ms --data photos/ --out results/photos --trials 2 " + TOY),
    (r"search .*--time-limit", "search --budget 1GFLOP --time-limit 1min --out results/quick " + TOY),
    (r"resume .*--time-limit", "resume results/quick --time-limit 1min"),
    (r"search .*--objective predicted@4GFLOP",
     "search --objective predicted@300MFLOP --space small --budget 100MFLOP --trials 2 " + TOY),
    (r"search ", "{} --trials 2 " + TOY),
    (r"confirm .*--designs", "confirm results/mine --seeds 1"),
    (r"confirm ", "{} --seeds 1"),
    (r"train .*--recipe mobile|train .*--seeds 3", "{} --epochs 1 --resolution 32 --seeds 1 --runner toys.toml"),
    (r"train ", "{} --epochs 1 --resolution 32 --runner toys.toml"),
    (r"latency fit$", "latency fit --networks 10 --accept-noise"),
    (r"latency fit --memory", "latency fit --memory --networks 10 --accept-noise"),
    (r"latency pack pixel-6 --count 20", "latency pack pixel-6 --count 10"),
    (r"latency import", "{} --accept-noise"),
    (r"audit --recipe mine.toml", "audit --recipe mine.toml --samples 64 " + FEW),
    (r"audit", "{} " + FEW),
    (r"table collect --time-limit 2h", "table collect --designs 2 " + TOYS),
    (r"table collect --rung 0 --designs 60 --seeds 3", "table collect --rung 0 --designs 3 --seeds 3 " + TOYS),
    (r"table collect --rung long", "table collect --rung long --designs 1 " + TOYS),
    (r"table collect --architectures", "{} " + TOYS),
    (r"table collect --around 100", "table collect --around 2 " + TOYS),
    (r"score .*/a1b2c3d4.toml", "score mobilevit_s emo_1m results/default/designs/3ed4e505.toml"),
    (r"scale train",
     "scale train emo_1m fastvit_t8 --to 150MFLOP 200MFLOP 300MFLOP --samples 32 64 128 --evaluate 50 "
     "--out results/mine-scaling --runner toys.toml"),
    (r"scale fit results/mine|scale plan results/mine|scale compare results/mine", "{scaling}"),
    (r"bench run evolution .*mine.csv", "{} --seeds 2"),
    (r"bench run .*metablock", "bench run random evolution --on metablock --objectives 2 --evaluations 12 --seeds 2"),
    (r"bench show", "bench show results/bench/mine-1"),
    (r"space importance metablock", "space importance metablock --metric accuracy"),
    (r"reproduce --table blocks", "reproduce emo_1m"),
    (r"report results/tour --open", "report results/tour"),
)  # fmt: skip
LEFT_OUT = (
    (r"bench (run|show|add) .*(nas_bench_macro|accel_nasbench)", "the published table is downloaded by hand"),
    (
        r"export-study .*--mlflow",
        "needs a server and an extra; tests/test_study_exports.py writes a store where it is installed",
    ),
    (r"make (search|test)", "make test runs this; make search is the search of docs/searching.md"),
    (r"report --watch", "serves a page until the search is over; tests/test_live_page.py reads it"),
)
# A command that needs an extra, and the library by which it is seen to be installed.
EXTRAS = ((r"export .*\.xml", "openvino"), (r"export .*\.pte", "executorch"), (r"explain ", "captum"))
# As they stand within a second or two, without training or measuring: what the tests run.
QUICK = r"profile|space (size|contains|sample)|list|draw|front|table export|data|watch"
QUICK_PYTHON = ("docs/strategies.md",)
FINAL_TRAININGS = 2  # of a search, instead of 22
TOY_RUNNER = 'kind = "serial"\n' + "".join(
    f'\n[[ladder]]\nname = "{name}"\nrecipe = "proxy-even"\ntrials = {trials}\nsamples = {samples}\nevaluate = 50\n'
    for name, trials, samples in (("screen", 4, 64), ("full", 2, 96))
)
# What the blocks of a page take to be there.
BEFORE = {"docs/models.md": "import nasbench, torch\nimages = torch.rand(1, 3, 224, 224)"}
# In blocks of Python: a text, and what stands in its place.
SMALLER_PYTHON = (
    ('out="results/mine")', 'out="results/python", trials=4, runner="toys.toml", device="server")'),
    ('nasbench.confirm("results/mine", seeds=2)', 'nasbench.confirm("results/python", seeds=1)'),
    ('"mobilevit_xxs"], rung=-1, seeds=2)', '"mobilevit_xxs"], rung=-1, seeds=2, runner="toys.toml", device="server")'),
)


@dataclass(frozen=True)
class Step:
    """One command, or one block of Python, as a page has it."""

    page: str
    text: str
    python: bool

    @property
    def left_out(self) -> str | None:
        """Why it does not run, if it does not."""
        lacking = [(pattern, f"needs {name}") for pattern, name in EXTRAS if importlib.util.find_spec(name) is None]
        return next((why for pattern, why in (*LEFT_OUT, *lacking) if re.match(pattern, self.command)), None)

    @property
    def command(self) -> str:
        return self.text.removeprefix("nasbench ")

    @property
    def quick(self) -> bool:
        if self.python:
            return self.page in QUICK_PYTHON
        return not self.left_out and re.match(QUICK, self.command) is not None

    @property
    def here(self) -> str:
        """What is run in its place."""
        if self.python:
            text = self.text
            for long, short in SMALLER_PYTHON:
                text = text.replace(long, short)
            return text
        found = next((by for pattern, by in SMALLER if re.match(pattern, self.command)), "{}")
        of_laws = self.command.replace("results/mine", "results/mine-scaling")
        return found.replace("{scaling}", of_laws).replace("{}", self.command)


def steps(page: str) -> Iterator[Step]:
    """Of the blocks of a page, in their order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for kind, block in re.findall(r"^```(sh|bash|console|python)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        if kind == "python":
            yield Step(page, block, True)
        else:
            for line in block.splitlines():
                command = re.sub(r"\s+#.*", "", line).removeprefix("$ ").strip()
                if command:
                    yield Step(page, command, False)


def prepare(folder: Path, chosen: Sequence[Step], quick: bool) -> None:
    """What the steps take to be there: results of the checkout, images, files of the reader's own."""
    for name in (
        "results/default",
        "results/default-former",
        "results/search/first",
        "results/scaling",
        "results/table-metablock",
        "docs/examples",
    ):
        shutil.copytree(ROOT / name, folder / name)
    (folder / "toys.toml").write_text(TOY_RUNNER, encoding="utf-8")
    _images(folder / "photos", 12 if quick else 30)
    for name in ("results/mine", *(("results/tour",) if quick else ())):
        shutil.copytree(ROOT / "results" / "default", folder / name)
    if quick:
        return
    shutil.copyfile(ROOT / "runners" / "recipes" / "proxy-even.toml", folder / "mine.toml")
    shutil.copyfile(next((folder / "photos").rglob("*.png")), folder / "photo.png")
    _photo(folder)
    places = [(a, b, c) for a in range(4) for b in range(4) for c in range(4)]
    rows = [f"{a},{b},{c},{50 + 7 * a - 3 * b + a * c},{5 + a + 2 * b + c}\n" for a, b, c in places]
    (folder / "mine.csv").write_text("layer0,layer1,layer2,accuracy,latency\n" + "".join(rows), encoding="utf-8")
    _device()
    if any(re.search(r"\.safetensors|\.pt\b", step.here) for step in chosen):
        _models(folder)


def _images(folder: Path, count: int) -> None:
    """So many images of each of three classes, no two alike."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for place, name in enumerate(("cat", "dog", "tree")):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 160, (40, 40, 3)).astype("uint8")
            pixels[..., place] += 80
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


def _photo(folder: Path) -> None:
    from PIL import Image

    Image.open(folder / "photo.png").save(folder / "photo.jpg")


def _device() -> None:
    """A device that was measured."""
    from nasbench.latency.pack import read_results

    read_results(ROOT / "results" / "latency" / "onnxruntime_plain_pack.json", "server").save()


def _models(folder: Path) -> None:
    """A trained model, one to learn from, and weights as a training script leaves them."""
    import torch

    import nasbench
    from nasbench import cli

    torch.save(nasbench.build(nasbench.load("emo_1m")).state_dict(), folder / "emo_1m.pt")
    code = cli.main(shlex.split("train mobilevit_xxs --data photos --epochs 1 --resolution 32 --out trained"))
    assert code == 0, "the model to begin with"
    best = next(folder.glob("trained/*/best.safetensors"))
    (folder / "results" / "train").mkdir(parents=True)
    for name in ("best.safetensors", "results/train/large.safetensors"):
        shutil.copyfile(best, folder / name)


def run(step: Step, namespace: dict[str, object]) -> None:
    """Run what stands in the step's place here; an exception says that it failed."""
    from nasbench import cli

    if step.python:
        exec(compile(BEFORE.get(step.page, ""), step.page, "exec"), namespace)
        exec(compile(step.here, step.page, "exec"), namespace)
        return
    words = shlex.split(step.here)
    if words[0] == "search" and "--out" in words:  # each page begins with a search of its own
        shutil.rmtree(words[words.index("--out") + 1], ignore_errors=True)
    if words[:2] == ["latency", "pack"]:
        for old in Path().glob(f"latency-pack-{words[2]}-*" if "--study" in words else f"latency-pack-{words[2]}"):
            shutil.rmtree(old)
    code = cli.main(words)
    if code:
        raise RuntimeError(f"exit code {code}")
    if step.command.startswith("latency pack"):
        _measure(Path(step.here.split()[2]), "--study" in step.here)


def _measure(device: Path, of_study: bool) -> None:
    """What the pack's README asks the reader to do on the device, done here."""
    pack = next(path for path in sorted(Path().glob(f"latency-pack-{device}*"), reverse=of_study) if path.is_dir())
    before = Path.cwd()
    os.chdir(pack)
    try:
        with contextlib.suppress(SystemExit):
            sys.argv, argv = ["standalone.py"], sys.argv
            runpy.run_path("standalone.py", run_name="__main__")
    finally:
        sys.argv = argv
        os.chdir(before)
    shutil.copyfile(pack / "results.json", "results.json")


def run_all(chosen: Sequence[Step], quick: bool) -> list[str]:
    """Run the steps in a scratch folder of their own, a line each -> what failed, a text each."""
    failed = []
    with scratch() as folder:
        prepare(folder, chosen, quick)
        page, namespace = "", dict[str, object]()
        for step in chosen:
            if step.page != page:
                page, namespace = step.page, {}
            start, why = time.perf_counter(), _failure(step, namespace)
            failed += [f"{step.page}: {step.here}\n{why}"] if why else []
            took = f"{'FAILED' if why else 'ran'} in {time.perf_counter() - start:5.1f} s"
            print(f"{took}  {step.page}: {step.here.strip().splitlines()[0]}", flush=True)
    return failed


def _failure(step: Step, namespace: dict[str, object]) -> str:
    """Run the step -> what it printed last and where it failed; nothing where it ran."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            run(step, namespace)
        except (Exception, SystemExit):
            return f"{printed.getvalue()[-MOST_OUTPUT:]}\n{traceback.format_exc()}"
    return ""


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder to work in, with a cache of its own; afterwards all is as before."""
    before, cache = Path.cwd(), os.environ.get("NASBENCH_CACHE")
    with tempfile.TemporaryDirectory() as name:
        os.environ["NASBENCH_CACHE"] = f"{name}/cache"
        os.chdir(name)
        try:
            yield Path(name)
        finally:
            os.chdir(before)
            os.environ.pop("NASBENCH_CACHE")
            if cache is not None:
                os.environ["NASBENCH_CACHE"] = cache


def main() -> int:
    from nasbench.engine import start

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", default=PAGES)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    found = [step for page in options.pages for step in steps(page)]
    for step in found:
        if step.left_out:
            print(f"left out  {step.page}: {step.text}: {step.left_out}")
        elif options.list:
            print(f"{'quick' if step.quick else 'runs'}  {step.page}: {step.here.strip()}")
    if options.list:
        return 0
    chosen = [step for step in found if not step.left_out and (step.quick or not options.quick)]
    start.FINAL_TRAININGS = FINAL_TRAININGS
    failed = run_all(chosen, options.quick)
    print("\n\n".join(failed))
    print(f"{len(chosen) - len(failed)} of {len(chosen)} ran; {sum(bool(step.left_out) for step in found)} left out")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
