"""Runs every command and every block of Python of the documentation, in the order of the pages, in a scratch folder.

    python docs/run_commands.py                  # all of it; `make docs-check`
    python docs/run_commands.py docs/tour.md     # of some pages
    python docs/run_commands.py --list           # what would be run, what is left out, and why

A command runs as it stands, but where it trains or measures for long: `SMALLER` says what is put in its place, and
`FIGURES` which figures of the program are smaller meanwhile. What cannot run here is in `LEFT_OUT` with the reason.
`SMALLER` and `LEFT_OUT` are read from the top, the first that fits counts. What several pages make (`ONCE`) is made
once. Ends with 1 where a command fails. The tests run all of it, page by page (tests/test_documents.py).
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
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
# Latencies are those of a device whose measurements are shipped, since measuring waits until the machine is quiet. No
# published network lies in the small space, whose designs train ten times as fast as others.
TOY = "--runner toys.toml --device server"
SMALL = "--space small --trials 2 --runner toys.toml"
TOYS = "--space small --out results/table-toys --time-limit 2min " + TOY
FEW = "--networks emo_1m mobilevit_xxs mobilenetv2_100 " + TOY
SMALLER = (
    (r"search .*--device|search --budget 64MBmem", "{} " + SMALL),
    (r"search --budget 10ms --data",
     f"search --budget 40ms --data photos/ --out results/photos {SMALL} --device server"),
    (r"search .*--time-limit",
     f"search --budget 1GFLOP --time-limit 1min --out results/quick {SMALL} --device server"),
    (r"resume .*--time-limit", "resume results/quick --time-limit 1min"),
    (r"search .*--objective predicted@4GFLOP",
     "search --objective predicted@300MFLOP --space small --budget 100MFLOP --trials 2 " + TOY),
    (r"search --strategy warm",
     "{} --strategy-option table=results/table-toys --strategy-option pool=40 --device server " + SMALL),
    (r"search .*--(strategy|promotion)", "{} --device server " + SMALL),
    (r"search ", "{} --trials 2 " + TOY),
    (r"confirm .*--designs", "confirm results/mine --seeds 1"),
    (r"confirm ", "{} --seeds 1"),
    (r"train .*--recipe mobile|train .*--seeds 3", "{} --epochs 1 --resolution 32 --seeds 1 --runner toys.toml"),
    (r"train ", "{} --epochs 1 --resolution 32 --runner toys.toml"),
    (r"latency fit$", "latency fit --space small --networks 8 --accept-noise"),
    (r"latency fit --memory", "latency fit --memory --space small --networks 8 --accept-noise"),
    (r"latency pack pixel-6 --count 20", "latency pack pixel-6 --space small --count 8"),
    (r"latency pack pixel-6 --study", "{} --count 2"),
    (r"latency import", "{} --accept-noise"),
    (r"audit --recipe mine.toml", "audit --recipe mine.toml --samples 64 " + FEW),
    (r"audit .*--long", "{} --seeds 1 " + FEW),
    (r"audit", "{} " + FEW),
    (r"table collect --time-limit 2h", "table collect --designs 4 " + TOYS),
    (r"table collect --rung 0 --designs 60 --seeds 3", "table collect --rung 0 --designs 2 --seeds 2 " + TOYS),
    (r"table collect --rung long", "table collect --rung long --designs 1 " + TOYS),
    (r"table collect --architectures", "{} --out results/table-named " + TOY),
    (r"table collect --around 100", "table collect --around 1 " + TOYS),
    (r"table suggest",
     "table suggest --budget 80ms --space small --table results/table-toys --device server -o suggested"),
    (r"score .*/a1b2c3d4.toml", "score mobilevit_s emo_1m results/default/designs/03146b4b.toml"),
    (r"scale train",
     "scale train emo_1m --to 150MFLOP 200MFLOP --samples 32 64 --evaluate 16 --out results/trained "
     "--runner toys.toml"),
    (r"scale plan results/mine", "{scaling} --draws 8 --design emo_1m"),
    (r"scale (fit|compare) results/(mine|scaling)", "{scaling} --draws 8"),
    (r"scale fit --published", "{} --draws 8"),
    (r"bench run evolution .*mine.csv", "{} --seeds 2"),
    (r"bench run .*metablock", "bench run random evolution --on metablock --objectives 2 --evaluations 12 --seeds 2"),
    (r"bench show", "bench show results/bench/mine-1"),
    (r"space importance metablock", "space importance metablock --metric accuracy"),
    (r"reproduce --table blocks", "reproduce emo_1m"),
    (r"report results/tour --open", "report results/tour"),
)  # fmt: skip
# What a page makes and another makes again, word for word, is made once.
ONCE = r"search|latency pack|table collect|audit|scale fit"
# Figures of the program that are smaller while the documentation runs: module, name, and the figure in its place.
FIGURES = (
    ("nasbench.engine.start", "FINAL_TRAININGS", 2),  # of a search, instead of 20
    ("nasbench.engine.device_source", "MORE_NETWORKS", 2),  # measured where a profile does not cover a space
    ("nasbench.importance.estimate", "DRAWS", 2),  # bootstraps
    ("nasbench.page.fields", "DRAWS", 2),
    ("nasbench.table.suggesting", "CHILDREN", 10),  # of a generation
    ("nasbench.proxy.zero_cost", "IMAGES", 8),  # that untrained networks are scored on
    ("nasbench.latency.standalone", "MAX_RUNS", 5),  # of a network in a pass
    ("nasbench.latency.standalone", "PEAK_REPEATS", 1),  # processes in which its memory is measured
    ("nasbench.latency.calibrate", "MAX_PASSES", 3),
)
# The same in the script that a pack carries.
FIGURES_OF_PACK = (
    ("MIN_RUNS, MAX_RUNS = 5, 100", "MIN_RUNS, MAX_RUNS = 5, 5"),
    ("PASSES, MAX_PASSES = 3, 6", "PASSES, MAX_PASSES = 3, 3"),
    ("PEAK_REPEATS = 3", "PEAK_REPEATS = 1"),
)
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
# One step shows that training runs; ten do where it is long.
TOY_RUNNER = 'kind = "serial"\n' + "".join(
    f'\n[[ladder]]\nname = "{name}"\nrecipe = "proxy-even"\nbatch_size = 4\nsamples = 4\npool = 64\n'
    f"trials = {trials}\nevaluate = {images}\n"
    for name, trials, images in (("screen", 4, 48), ("full", 2, 50))
)
# What the blocks of a page take to be there.
BEFORE = {"docs/models.md": "import nasbench, torch\nimages = torch.rand(1, 3, 224, 224)"}
# In blocks of Python: a text, and what stands in its place.
SMALLER_PYTHON = (
    ('nasbench.suggest(["1GFLOP", "8ms"]', 'nasbench.suggest(["1GFLOP", "80ms"], device="server"'),
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
    def here(self) -> str:
        """What is run in its place."""
        if self.python:
            text = self.text
            for long, short in SMALLER_PYTHON:
                text = text.replace(long, short)
            return text
        found = next((by for pattern, by in SMALLER if re.match(pattern, self.command)), "{}")
        of_laws = self.command.replace("results/mine", "results/scaling")
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


def prepare(folder: Path, chosen: Sequence[Step]) -> None:
    """What the steps take to be there, if it is not: results of the checkout, images, files of the reader's own."""
    if not (folder / "toys.toml").is_file():
        _prepare_for_all(folder)
    if any(re.search(r"\.safetensors|\.pt\b", step.here) for step in chosen) and not (folder / "trained").is_dir():
        _models(folder)


def _prepare_for_all(folder: Path) -> None:
    for name in (
        "results/default",
        "results/default-former",
        "results/search/first",
        "results/scaling",
        "results/table-metablock",
        "docs/examples",
    ):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copytree(ROOT / "results" / "default", folder / "results" / "mine")
    _images(folder / "photos", 30)
    shutil.copyfile(ROOT / "runners" / "recipes" / "proxy-even.toml", folder / "mine.toml")
    shutil.copyfile(next((folder / "photos").rglob("*.png")), folder / "photo.png")
    _photo(folder)
    places = [(a, b, c) for a in range(4) for b in range(4) for c in range(4)]
    rows = [f"{a},{b},{c},{50 + 7 * a - 3 * b + a * c},{5 + a + 2 * b + c}\n" for a, b, c in places]
    (folder / "mine.csv").write_text("layer0,layer1,layer2,accuracy,latency\n" + "".join(rows), encoding="utf-8")
    _device()
    (folder / "toys.toml").write_text(TOY_RUNNER, encoding="utf-8")


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
    train = "train mobilevit_xxs --data photos --epochs 1 --resolution 32 --out trained --runner toys.toml"
    code = cli.main(shlex.split(train))
    assert code == 0, "the model to begin with"
    best = next(folder.glob("trained/*/best.safetensors"))
    (folder / "results" / "train").mkdir(parents=True)
    for name in ("best.safetensors", "results/train/large.safetensors"):
        shutil.copyfile(best, folder / name)


def run(step: Step, namespace: dict[str, object], made: set[str]) -> None:
    """Run what stands in the step's place here; an exception says that it failed. `made`: what has run before."""
    from nasbench import cli

    if step.python:
        exec(compile(BEFORE.get(step.page, ""), step.page, "exec"), namespace)
        exec(compile(step.here, step.page, "exec"), namespace)
        return
    words = shlex.split(step.here)
    if step.here not in made:
        if words[0] == "search" and "--out" in words:  # what another page searched for lies there
            shutil.rmtree(words[words.index("--out") + 1], ignore_errors=True)
        code = cli.main(words)
        if code:
            raise RuntimeError(f"exit code {code}")
        if re.match(ONCE, step.here):
            made.add(step.here)
        if words[:2] == ["latency", "pack"]:
            _measure(_pack(words))
    if words[:2] == ["latency", "pack"]:
        shutil.copyfile(_pack(words) / "results.json", "results.json")


def _pack(words: Sequence[str]) -> Path:
    """The folder that `latency pack DEVICE ...` wrote."""
    study = f"-{Path(words[words.index('--study') + 1]).name}" if "--study" in words else ""
    return Path(f"latency-pack-{words[2]}{study}")


def _measure(pack: Path) -> None:
    """What the pack's README asks the reader to do on the device, done here."""
    script = pack / "standalone.py"
    text = script.read_text(encoding="utf-8")
    for long, short in FIGURES_OF_PACK:
        assert text.count(long) == 1, f"{long} is not in {script}"
        text = text.replace(long, short)
    script.write_text(text, encoding="utf-8")
    before = Path.cwd()
    os.chdir(pack)
    sys.argv, argv = ["standalone.py"], sys.argv
    try:
        with contextlib.suppress(SystemExit):
            runpy.run_path("standalone.py", run_name="__main__")
    finally:
        sys.argv = argv
        os.chdir(before)


def run_all(chosen: Sequence[Step], folder: Path, made: set[str]) -> list[str]:
    """Run the steps in `folder`, a line each -> what failed, a text each. `made`: what ran there before."""
    failed = []
    with inside(folder), smaller():
        page, namespace = "", dict[str, object]()
        for step in chosen:
            if step.page != page:
                page, namespace = step.page, {}
                prepare(folder, [each for each in chosen if each.page == page])
            start, why = time.process_time(), _failure(step, namespace, made)
            failed += [f"{step.page}: {step.here}\n{why}"] if why else []
            took = f"{'FAILED' if why else 'ran'} in {time.process_time() - start:5.1f} s"
            print(f"{took}  {step.page}: {step.here.strip().splitlines()[0]}", flush=True)
    return failed


def _failure(step: Step, namespace: dict[str, object], made: set[str]) -> str:
    """Run the step -> what it printed last and where it failed; nothing where it ran."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            run(step, namespace, made)
        except (Exception, SystemExit):
            return f"{printed.getvalue()[-MOST_OUTPUT:]}\n{traceback.format_exc()}"
    return ""


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Work in `folder`, with a cache of its own; afterwards all is as before.

    The images that come with nasbench are taken from the user's cache, where they are there, since composing them takes
    seconds.
    """
    from nasbench.files import cache_dir

    data, composed = folder / "cache" / "data", sorted((cache_dir() / "data").glob("fashion-on-earth-*.npz"))
    before, former = Path.cwd(), os.environ.get("NASBENCH_CACHE")
    if not data.is_dir():
        data.mkdir(parents=True)
        for path in composed:
            (data / path.name).symlink_to(path.absolute())
    os.environ["NASBENCH_CACHE"] = str(folder / "cache")
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
        os.environ.pop("NASBENCH_CACHE")
        if former is not None:
            os.environ["NASBENCH_CACHE"] = former


@contextlib.contextmanager
def smaller() -> Iterator[None]:
    """`FIGURES` put in place; afterwards all is as before."""
    modules = [importlib.import_module(name) for name, _, _ in FIGURES]
    before = [getattr(module, name) for module, (_, name, _) in zip(modules, FIGURES, strict=True)]
    for module, (_, name, figure) in zip(modules, FIGURES, strict=True):
        setattr(module, name, figure)
    try:
        yield
    finally:
        for module, (_, name, _), figure in zip(modules, FIGURES, before, strict=True):
            setattr(module, name, figure)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", default=PAGES)
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    found = [step for page in options.pages for step in steps(page)]
    for step in found:
        if step.left_out:
            print(f"left out  {step.page}: {step.text}: {step.left_out}")
        elif options.list:
            print(f"runs  {step.page}: {step.here.strip()}")
    if options.list:
        return 0
    chosen = [step for step in found if not step.left_out]
    with tempfile.TemporaryDirectory() as folder:
        failed = run_all(chosen, Path(folder), set())
    print("\n\n".join(failed))
    print(f"{len(chosen) - len(failed)} of {len(chosen)} ran; {sum(bool(step.left_out) for step in found)} left out")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
