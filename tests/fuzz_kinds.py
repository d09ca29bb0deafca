"""Every kind of file that the program reads: how a whole one is made, and what is read and worked out from it."""

from __future__ import annotations

import io
import json
import random
import shutil
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save
from scaling_toys import evaluate
from search_toys import study_of
from small_networks import NETWORKS

from nasbench.arch.architecture import Architecture
from nasbench.arch.library import load
from nasbench.commands.common import write_architectures
from nasbench.costs.analytic import cost
from nasbench.costs.budget import parse_budgets
from nasbench.files import data_dir
from nasbench.latency import standalone
from nasbench.latency.device import KernelTime, Measurement, this_device
from nasbench.latency.features import VERSION
from nasbench.latency.kernels import ANY, Forest, KernelModel
from nasbench.latency.lowering import network_kernels
from nasbench.latency.pack import Results, pack_id
from nasbench.latency.prediction import HeldOut
from nasbench.latency.predictor import Predictor
from nasbench.latency.profile import DeviceProfile, load_device
from nasbench.latency.records import Protocol, Record, Reference
from nasbench.latency.reference import REFERENCE_NAME, reference_hash
from nasbench.latency.residual import Residual
from nasbench.latency.standalone import Pass
from nasbench.latency.tables import comparison, prediction_table
from nasbench.nn.model import build
from nasbench.proxy.data.cifar10 import read_archive
from nasbench.proxy.data.decoding import decode
from nasbench.proxy.data.folder import load_folder
from nasbench.proxy.reduction import reduced
from nasbench.report.designs import write_designs
from nasbench.report.results import open_study
from nasbench.report.tables import closing_text, records, write_front_csv
from nasbench.scaling.points import read_points, summary
from nasbench.scaling.study import ScalingStudy, new_study
from nasbench.space import SearchSpace
from nasbench.space.shipped import load_space
from nasbench.study import environment
from nasbench.study.fidelity import load_recipe, recipe_files
from nasbench.study.notes import LatencyNote, PromotionNote
from nasbench.study.predicted import Interval, Predicted
from nasbench.study.runner import RunnerSpec, load_runner, runner_ladder, runner_promotion, shipped_runners
from nasbench.study.store import TrialStore
from nasbench.study.study import SpaceRecord
from nasbench.study.task import DataSplit, Task
from nasbench.study.trials import Kind as Published
from nasbench.study.trials import Origin, Outcome, State, Trial
from nasbench.table.collection import Collection
from nasbench.table.file import read_rows, write_rows
from nasbench.table.folder import rows_of_folder
from nasbench.table.loading import load_table
from nasbench.table.rows import TableRow
from nasbench.table.summary import summary as table_summary
from nasbench.training.recipe import load_training_recipe, training_recipes
from nasbench.weights.checkpoints import load_model, load_weights, save_weights
from nasbench.weights.saved import About, ImageNormalisation

ROOT = Path(__file__).parent.parent
SMALL = NETWORKS["emo_1m" if "emo_1m" in NETWORKS else next(iter(NETWORKS))]
Folder = dict[str, bytes]  # of one study, pack or data set: path in it -> content


class Kind(NamedTuple):
    """`make` gives a folder and the file in it that is damaged; `read` takes the folder and that file. `form`: in which
    its values can be damaged. `mend`: what is put right after that, as a hash that would hide all other damage."""

    make: Callable[[random.Random], tuple[Folder, str]]
    read: Callable[[Path, Path], object]
    form: str = ""
    mend: Callable[[bytes], bytes] = lambda data: data


# --- architectures, spaces, runners, recipes


def _one_of(paths: list[Path]) -> Callable[[random.Random], tuple[Folder, str]]:
    return lambda rng: ({(path := rng.choice(paths)).name: path.read_bytes()}, path.name)


def _named_json(rng: random.Random) -> tuple[Folder, str]:
    name = rng.choice(sorted(NETWORKS))
    return {"own.json": json.dumps(NETWORKS[name].to_dict()).encode()}, "own.json"


def _read_architecture(folder: Path, file: Path) -> None:
    arch = load(file)
    cost(arch, 10)
    Architecture.from_dict(arch.to_dict())
    write_architectures([arch], folder / "designs")


def _read_space(folder: Path, file: Path) -> None:
    space = load_space(file)
    space.size()
    space.sample(np.random.default_rng(0), num_classes=10)
    space.outside(SMALL)
    SearchSpace.from_dict(space.to_dict(), "again")


def _read_runner(folder: Path, file: Path) -> None:
    RunnerSpec.from_dict(load_runner(file).to_dict())
    runner_promotion(file)
    for rung in runner_ladder(file).rungs:
        rung.fidelity.image_size(224)


# --- studies


def _complete(store: TrialStore, trial: Trial, metrics: dict[str, Any]) -> None:
    store.submit(trial)
    store.finish(trial.key, Outcome(State.COMPLETE, metrics, None, 1.5, {"host": "here", "gpu": None}))


def _folder_of(path: Path) -> Folder:
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


@cache
def search_folder() -> Folder:
    """A study of six designs, two of them final, one failed, one running; with notes and one outcome in the spool."""
    path = _scratch("search")
    space = load_space("small")
    study = study_of(
        space, budgets=("1GFLOP", "64MBmem"), ladder=[{"trials": 4, "samples": 64}, {"trials": 2, "samples": 128}]
    )
    study.create(path)
    drawn = [space.sample(np.random.default_rng(seed)) for seed in range(6)]
    lowest = study.ladder.rungs[0].fidelity
    with TrialStore(path) as store:
        trials = [
            Trial.new(arch, lowest, 0, "toy", origin=Origin(Published.SEARCHED, 0, "random", cost(arch)))
            for arch in drawn
        ]
        for trial in trials[:4]:
            _complete(store, trial, {"accuracy": 0.3 + 0.01 * len(store.trials), "samples": 64, "data_id": "toy"})
        store.submit(trials[4])
        store.finish(trials[4].key, Outcome(State.FAILED, {}, "out of memory", 2.0, {}))
        store.submit(trials[5])
        interval = Interval(3.0, 2.5, 3.5)
        predicted = {arch.id: Predicted(interval, False, {"memory_bytes": interval}) for arch in drawn}
        store.note(
            LatencyNote(measured_ms={drawn[0].id: 2.0}, predicted=predicted, taken={drawn[0].id: {"memory_bytes": 1e6}})
        )
        store.note(PromotionNote(level="rung 1", of=4, chosen=(trials[0].key, trials[1].key)))
        for arch in drawn[:2]:
            origin = Origin(Published.SEARCHED, 1, "promoted", cost(arch))
            _complete(
                store, Trial.new(arch, study.ladder.rungs[1].fidelity, 0, "toy", origin=origin), {"accuracy": 0.4}
            )
            final = Trial.new(arch, study.ladder.rungs[1].fidelity, 1, "toy", "test", origin)
            _complete(store, final, {"accuracy": 0.42, "majority_share": 0.1})
    environment.record(path, ["nasbench", "search"])
    left = json.dumps({"key": trials[5].key, **Outcome(State.COMPLETE, {"accuracy": 0.4}, None, 1.0, {}).to_dict()})
    return {**_folder_of(path), f"spool/{trials[5].key}.json": left.encode()}


@cache
def scaling_folder() -> Folder:
    path = _scratch("scaling")
    study = new_study(
        [load("emo_1m")], parse_budgets(["100MFLOP", "200MFLOP"]), [64, 128], 1, runner=RunnerSpec(kind="serial")
    ).with_family(path)
    study.create(path)
    with TrialStore(path) as store:
        for trial in study.trials():
            task = Task(trial.design, trial.fidelity, trial.seed, DataSplit(), study.runner)
            _complete(store, trial, evaluate(task))
    return _folder_of(path)


def _part(folder: Callable[[], Folder], pattern: str) -> Callable[[random.Random], tuple[Folder, str]]:
    def make(rng: random.Random) -> tuple[Folder, str]:
        whole = folder()
        return whole, rng.choice([name for name in whole if Path(name).match(pattern)])

    return make


def _read_search(folder: Path, file: Path) -> None:
    result = open_study(folder)
    rows = result.rows()
    closing_text(rows), records(rows), result.front(), result.title()
    [result._record(trial) for trial in result.trials]
    write_designs(folder, rows)
    if rows:
        write_front_csv(folder / "front.csv", rows)
    if file.name == "study.toml":
        SearchSpace.from_dict(result.study.space.content, "space")
    with TrialStore(folder) as store:  # as `resume` does
        store.drain_spool()
    if file.name == environment.FILE:
        environment.read(folder)


def _read_scaling(folder: Path, file: Path) -> None:
    study = ScalingStudy.open(folder)
    if study.to_dict()["targets"] == ["100MFLOP", "200MFLOP"] and len(study.made) == 2:
        study.family()
    study.fidelity_at(study.samples[-1])
    summary(read_points([folder]))
    with TrialStore(folder) as store:
        store.drain_spool()


# --- tables


@cache
def collection_folder() -> Folder:
    """A collection of two designs, with its packed file."""
    path = _scratch("collection")
    space, ladder = load_space("small"), study_of().ladder
    record = SpaceRecord(name=space.name, content=space.to_dict())
    Collection(space=record, data="toy", data_id="toy", ladder=ladder, numerics="cpu float32").create(path)
    with TrialStore(path) as store:
        for seed in range(2):
            arch = space.sample(np.random.default_rng(seed))
            origin = Origin(Published.SEARCHED, 0, "random", cost(arch))
            fidelity = ladder.rungs[0].fidelity
            trial = Trial.new(arch, fidelity, seed, "toy", origin=origin)
            proxy = reduced(arch, fidelity).id
            _complete(store, trial, {"accuracy": 0.5, "loss": 1.2, "cpu_seconds": 2.5, "proxy_id": proxy})
    environment.record(path, ["nasbench", "table", "collect"])
    write_rows(path / "table.csv", rows_of_folder(path).rows)
    return _folder_of(path)


def table_row() -> TableRow:
    folder = _scratch("table")
    (folder / "own.csv").write_bytes(collection_folder()["table.csv"])
    return read_rows(folder / "own.csv")[0]


def _read_table(folder: Path, file: Path) -> None:
    table = load_table(file if file.name.startswith("table.") else folder)
    json.dumps(table_summary(table, 0), allow_nan=False)
    table.rows(), table.trainings(), table.noise(0)
    if table.rungs:
        table.fidelity(-1)


# --- devices


def _kernel_model() -> KernelModel:
    forest = Forest([0, 3], [1, -1, -1, -1], [3.5, 0, 0, 0], [1, 0, 0, 0], [2, 0, 0, 0], [0, 0.1, -0.1, 0.05])
    roofline = [1.0, 1e-4, 1e-5, 0.0, 1e-4, 0.0]
    return KernelModel(
        "onnxruntime", ["conv", "pointwise"], {ANY: roofline, "pointwise": roofline}, {"pointwise": 1e7}, forest
    )


def _device_record(arch: Architecture) -> Record:
    passes = tuple(Pass(at, (2000, 2010), (2000, 2020), (900 + at, 910), (950, 960)) for at in range(3))
    kernels = tuple(KernelTime("Conv", kernel.outputs, 3.5) for kernel in network_kernels(arch, 10).kernels[:3])
    figure = Measurement.of(passes, "thread", 2.0)
    return Record(
        id=arch.id, architecture=arch.to_dict(), measurement=figure, passes=passes, kernels=kernels, memory_bytes=2e6
    )


@cache
def profile_folder() -> Folder:
    names = sorted(NETWORKS)[:3]
    held, share = HeldOut(0.9, 0.1, 0.5), {"pointwise": (0.1, 0.5)}
    plain = Predictor(
        {"nets": 1.0, "launches": 0.01}, 0.1, (0.5, 3.0), share, held, kinds=("pointwise", "nets"), unit="MB"
    )
    residual = Residual(["pointwise"], [[0.1, 0.2]], [0.3, 0.4], [1.0, 2.0], [0.5], 0.01, 3.0)
    weights = {"nets": 0.1, "launches": 0.01, "pointwise.ms": 1.0, "conv.ms": 1.0}
    timed = Predictor(
        weights, 0.1, (0.5, 3.0), share, held, 0.3, ("pointwise",), _kernel_model(), False, {"nets": 0.1}, residual
    )
    profile = DeviceProfile(
        version=2, name="own", made="2025-01-01T00:00:00", device=this_device(), protocol=Protocol(),
        reference=Reference(name=REFERENCE_NAME, sha256=reference_hash(), quiet_ms=2.0), deviation=0.01, num_classes=10,
        records=[_device_record(NETWORKS[name]) for name in names], features_version=VERSION, predictor=timed,
        resources={"memory_bytes": plain},
    )  # fmt: skip
    return {"own.json": json.dumps(profile.model_dump(mode="json")).encode()}


def _read_profile(folder: Path, file: Path) -> None:
    profile = load_device(str(file))
    rows = prediction_table([SMALL, load("emo_1m")], profile)
    json.dumps([rows, comparison(profile, profile, [SMALL])], allow_nan=False)
    str(profile.settings)


@cache
def pack_folder() -> Folder:
    records = [_device_record(NETWORKS[name]) for name in sorted(NETWORKS)[:3]]
    files = {"reference.onnx": b"reference", **{f"{i:03d}.onnx": b"network" for i in range(3)}}
    networks = [{"id": r.id, "file": f"{i:03d}.onnx", "architecture": r.architecture} for i, r in enumerate(records)]
    manifest = {
        "protocol": 3, "device": "own", "runtime": "onnxruntime", "threads": 1, "batch": 1, "dtype": "fp32",
        "accelerator": "cpu", "options": {}, "num_classes": 10, "networks": networks,
        "reference": {"file": "reference.onnx", "name": REFERENCE_NAME, "sha256": reference_hash()},
        "files": {name: standalone.hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }  # fmt: skip
    manifest |= {"pack": pack_id(manifest)}
    results = {
        "manifest": manifest, "protocol": {"version": 3, "clock": "thread", "energy_meter": ""},
        "device": this_device().__dict__,
        "networks": [
            {"id": r.id, "passes": [p.__dict__ for p in r.passes], "memory_bytes": 2e6, "energy_j": None}
            for r in records
        ],
    }  # fmt: skip
    return {**files, "manifest.json": json.dumps(manifest).encode(), "results.json": json.dumps(results).encode()}


def _hashed_again(data: bytes) -> bytes:
    """A results file whose manifest says that it is whole: else nothing behind that is looked at."""
    try:
        content = json.loads(data)
        content["manifest"]["pack"] = pack_id({k: v for k, v in content["manifest"].items() if k != "pack"})
        return json.dumps(content).encode()
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return data


def _read_results(folder: Path, file: Path) -> None:
    found = Results.read(file)
    json.dumps([record.measurement.__dict__ for record in found.records], allow_nan=False)


# --- weights and images


@cache
def _weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {key: value.clone() for key, value in build(SMALL, 4).state_dict().items()}


def _make_weights(rng: random.Random) -> tuple[Folder, str]:
    return _weight_files()[rng.randrange(4)]


@cache
def _weight_files() -> list[tuple[Folder, str]]:
    plain, old, arrays = io.BytesIO(), io.BytesIO(), io.BytesIO()
    torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in _weights().items()}}, plain)
    torch.save(_weights(), old, _use_new_zipfile_serialization=False)
    np.savez(arrays, **{key.replace(".", "/"): value.numpy() for key, value in _weights().items()})
    content = {"w.pt": plain.getvalue(), "old.pth": old.getvalue(), "w.npz": arrays.getvalue()}
    content["w.safetensors"] = save(_weights())
    return [({name: data}, name) for name, data in content.items()]


@cache
def _saved_model() -> Folder:
    about = About(
        classes=("a", "b", "c", "d"), normalisation=ImageNormalisation(mean=(0.5,), std=(0.2,)), figures={"top1": 0.5}
    )
    path = _scratch("saved") / "own.safetensors"
    save_weights(_model(), path, about)
    return {"own.safetensors": path.read_bytes()}


@cache
def _model() -> torch.nn.Module:
    return build(SMALL, 4)


def _read_weights(folder: Path, file: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        load_weights(_model(), file)


IMAGES = {"png": "RGB", "jpg": "RGB", "gif": "P", "bmp": "RGB", "webp": "RGB", "tif": "I;16", "tiff": "F", "ppm": "L"}


@cache
def _image(suffix: str, seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (24, 20, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    mode = IMAGES[suffix]
    if mode in ("I;16", "F"):
        grey = pixels[..., 0].astype(np.uint16 if mode == "I;16" else np.float32)
        image = Image.fromarray(grey)
    buffer = io.BytesIO()
    image.save(buffer, {"jpg": "jpeg", "tif": "tiff"}.get(suffix, suffix))
    return buffer.getvalue()


def _make_image(rng: random.Random) -> tuple[Folder, str]:
    suffix = rng.choice(sorted(IMAGES))
    name = f"a/0.{suffix}"
    whole = {f"{label}/{i}.png": _image("png", i) for label in "ab" for i in range(12)}
    return ({name: _image(suffix, 0)} if rng.random() < 0.9 else {**whole, name: _image(suffix, 0)}), name


def _read_image(folder: Path, file: Path) -> None:
    decode(file, 16)
    if (folder / "b").is_dir():
        data = load_folder(str(folder))
        data.train.read(np.arange(3), 16)


@cache
def _archive() -> Folder:
    rng, buffer = np.random.default_rng(0), io.BytesIO()
    arrays = {}
    for split, n in (("train", 20), ("test", 10)):
        arrays[f"x_{split}"] = rng.integers(0, 255, (n, 32, 32, 3), dtype=np.uint8)
        arrays[f"y_{split}"] = rng.integers(0, 9, n)
    np.savez_compressed(buffer, **arrays)
    return {"own.npz": buffer.getvalue()}


SPACES = [path for path in sorted(data_dir("search_spaces").glob("*.toml")) if path.stem != "metablock"]
NETWORK_FILES = sorted(data_dir("search_spaces").glob("f*/*.toml")) + sorted(
    data_dir("search_spaces").glob("s*/*.toml")
)

KINDS: dict[str, Kind] = {
    "architecture": Kind(_one_of(NETWORK_FILES), _read_architecture, "toml"),
    "architecture, JSON": Kind(_named_json, _read_architecture, "json"),
    "space": Kind(_one_of(SPACES), _read_space, "toml"),
    "runner": Kind(_one_of(list(shipped_runners().values())), _read_runner, "toml"),
    "recipe": Kind(_one_of(list(recipe_files().values())), lambda folder, file: load_recipe(file).at(100), "toml"),
    "training recipe": Kind(
        _one_of(list(training_recipes().values())), lambda folder, file: load_training_recipe(file), "toml"
    ),
    "study": Kind(_part(search_folder, "study.toml"), _read_search, "toml"),
    "journal": Kind(_part(search_folder, "trials.jsonl"), _read_search, "lines"),
    "spool": Kind(_part(search_folder, "spool/*"), _read_search, "json"),
    "environment": Kind(_part(search_folder, "environment.json"), _read_search, "json"),
    "scaling study": Kind(_part(scaling_folder, "scaling.toml"), _read_scaling, "toml"),
    "scaling journal": Kind(_part(scaling_folder, "trials.jsonl"), _read_scaling, "lines"),
    "table": Kind(_part(collection_folder, "table.csv"), _read_table),
    "collection": Kind(_part(collection_folder, "collection.toml"), _read_table, "toml"),
    "profile": Kind(_part(profile_folder, "own.json"), _read_profile, "json"),
    "pack manifest": Kind(
        _part(pack_folder, "manifest.json"), lambda folder, file: standalone.read_manifest(folder), "json"
    ),
    "pack results": Kind(_part(pack_folder, "results.json"), _read_results, "json", _hashed_again),
    "weights": Kind(_make_weights, _read_weights),
    "saved model": Kind(_part(_saved_model, "own.safetensors"), lambda folder, file: load_model(file)),
    "image": Kind(_make_image, _read_image),
    "image archive": Kind(_part(_archive, "own.npz"), lambda folder, file: read_archive(file)),
}
"""What a whole file of each kind is read as; a new kind of file is one more line."""


def _scratch(name: str) -> Path:
    """A folder to make a whole one in; gone with the process's other temporary files."""
    import tempfile

    path = Path(tempfile.mkdtemp(prefix=f"nasbench-{name}-"))
    import atexit

    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path
