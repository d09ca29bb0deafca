"""Packs: a folder of networks to carry to a device and measure there, and the results that come back.

The folder holds networks as the runtime's own files, a manifest with their hashes, the stand-alone measuring script,
and how to use it. The script writes results.json, which is all that `read_results` and `add_results` need: it names
every architecture.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from nasbench.arch.architecture import Architecture
from nasbench.errors import UserError
from nasbench.files import errors_naming, read_text
from nasbench.latency import runtimes, standalone
from nasbench.latency.device import Device, Measurement, Settings, runtime_version
from nasbench.latency.export import deploy_form
from nasbench.latency.names import checked_name, known_devices
from nasbench.latency.profile import DeviceProfile, load_device, new_profile, require_agreement
from nasbench.latency.ranges import PositiveCount
from nasbench.latency.records import PASS_ADAPTER, Protocol, Record, Reference
from nasbench.latency.reference import REFERENCE_NAME, REFERENCE_SIZE, reference_hash, reference_module
from nasbench.values import first_problem

DEVICE, CLASSES = TypeAdapter(Device), TypeAdapter[int](PositiveCount)
MAX_MESSAGE = 200  # characters of an error about a file
SCRIPT = "standalone.py"
HOW_TO = """This folder measures {count} networks on the device {device!r} with {runtime} ({settings}).

1. Copy the whole folder to the device.
2. There, with Python 3.9 or newer:

     python3 -m venv venv && venv/bin/pip install {runtime}     # made with version {version}
     venv/bin/python {script}

   End other work on the device first and let it cool: a hot phone slows down, and passes that disagree are refused.
3. Copy results.json back and run

     nasbench latency import results.json{add}

With a login over ssh, runners/devices/ssh.sh of nasbench does all of this; for Android see runners/devices/android.md.
"""


def write_pack(
    device: str,
    architectures: Sequence[Architecture],
    folder: Path,
    settings: Settings,
    num_classes: int = 1000,
    progress: Callable[[int, int], None] | None = None,
    joins: bool = False,
) -> Path:
    """Write the folder whole; UserError if it is there already or the runtime runs no files.

    joins: its README.txt says that the results are to be added to an existing profile.
    """
    _check_packable(device, settings)
    with _whole_folder(folder) as building:
        reference = runtimes.write_file(reference_module(), REFERENCE_SIZE, settings, building / "reference")
        networks = _write_networks(architectures, building, settings, num_classes, progress)
        manifest = {
            "protocol": standalone.PROTOCOL_VERSION,
            "device": device,
            **asdict(settings),
            "num_classes": num_classes,
            "reference": {"file": reference.name, "name": REFERENCE_NAME, "sha256": reference_hash()},
            "networks": networks,
            "files": {path.name: _digest(path.read_bytes()) for path in sorted(building.iterdir())},
        }
        (building / "manifest.json").write_text(json.dumps(manifest | {"pack": pack_id(manifest)}, indent=1), "utf-8")
        shutil.copy(Path(standalone.__file__), building / SCRIPT)
        (building / "README.txt").write_text(_how_to(device, len(networks), settings, joins), "utf-8")
    return folder


def _check_packable(device: str, settings: Settings) -> None:
    """UserError unless the device has a proper name and the runtime runs files."""
    checked_name(device)
    runtimes.check(settings)
    if not runtimes.runs_files(settings):
        others = ", ".join(name for name, runtime in runtimes.RUNTIMES.items() if runtime.write)
        raise UserError(f"{settings.runtime} runs no files that could be carried to a device; choose of {others}")


@contextmanager
def _whole_folder(folder: Path) -> Iterator[Path]:
    """A folder to write to, which becomes `folder` at the end, or is removed where something fails before."""
    if folder.exists():
        raise UserError(f"{folder}: is there already; give another folder with --out or remove it")
    folder.absolute().parent.mkdir(parents=True, exist_ok=True)
    with errors_naming(folder):
        building = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.absolute().parent))
        try:
            yield building
            building.chmod(0o755)
            building.rename(folder)
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            raise


def _write_networks(
    architectures: Sequence[Architecture],
    folder: Path,
    settings: Settings,
    num_classes: int,
    progress: Callable[[int, int], None] | None,
) -> list[dict[str, Any]]:
    """Each network's file; the rows of the manifest that describe them."""
    rows = []
    for index, architecture in enumerate(architectures):
        module = deploy_form(architecture, num_classes)
        path = runtimes.write_file(module, architecture.resolution, settings, folder / f"{index:03d}")
        rows.append({"id": architecture.id, "file": path.name, "architecture": architecture.to_dict()})
        if progress:
            progress(index + 1, len(architectures))
    return rows


def _how_to(device: str, count: int, settings: Settings, joins: bool) -> str:
    return HOW_TO.format(
        count=count,
        device=device,
        runtime=settings.runtime,
        settings=settings,
        version=runtime_version(settings.runtime),
        script=SCRIPT,
        add=" --add" if joins else "",
    )


@dataclass(frozen=True)
class Results:
    """The content of results.json: the pack's manifest, the device that ran it, and every network's passes."""

    path: Path
    manifest: dict[str, Any]
    device: Device
    protocol: Protocol
    records: list[Record]

    @classmethod
    def read(cls, path: Path) -> Results:
        """UserError says what is wrong with the file."""
        try:
            content = json.loads(read_text(path, "results.json"))
            manifest, device = content["manifest"], DEVICE.validate_python(content["device"])
            if content["protocol"]["version"] not in standalone.SAME_RUNS:
                raise UserError(f"{path}: measured by another version of the script; make the folder again")
            if manifest["pack"] != pack_id({k: v for k, v in manifest.items() if k != "pack"}):
                raise UserError(
                    f"{path}: its networks are not those of the pack; copy results.json from the device again"
                )
            protocol = Protocol.of(content["protocol"]["clock"], content["protocol"].get("energy_meter", ""))
            reference = manifest["reference"]["sha256"], manifest["reference"]["name"]
            checked_name(str(manifest["device"]))
            CLASSES.validate_python(manifest["num_classes"])
            records = _records(content, protocol.clock)
        except UserError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
            text = first_problem(error) if isinstance(error, ValidationError) else f"{error} ".splitlines()[0].strip()
            text = f"key {text} is missing" if isinstance(error, KeyError) else text
            what = text if len(text) <= MAX_MESSAGE else f"{text[:MAX_MESSAGE]}..."
            raise UserError(f"{path}: not the results of a pack: {what}; give the results.json of one") from None
        if reference != (reference_hash(), REFERENCE_NAME):
            raise UserError(
                f"{path}: measured against another reference network; make the folder again with this nasbench"
            )
        return cls(path, manifest, device, protocol, records)


def read_results(path: Path, name: str | None = None, accept_noise: bool = False) -> DeviceProfile:
    """The profile fitted to a results file, under the device's name in it or `name`; UserError says what is wrong."""
    found = Results.read(path)
    reference = found.manifest["reference"]
    quiet_ms = found.records[0].measurement.reference_ms
    return new_profile(
        name or found.manifest["device"],
        found.records,
        found.device,
        found.protocol,
        Reference(name=reference["name"], sha256=reference["sha256"], quiet_ms=quiet_ms),
        found.manifest["num_classes"],
        accept_noise,
    )


def add_results(path: Path, name: str | None = None, accept_noise: bool = False) -> DeviceProfile:
    """The device's profile in the cache joined with a results file and fitted again; newer figures replace older ones.

    Ratios to the reference network are scaled by the profile's own quiet time, so that one session's clock frequency
    does not shift its figures against the other's. UserError where the two were not measured alike.
    """
    found = Results.read(path)
    device = name or found.manifest["device"]
    if device not in known_devices():
        raise UserError(f"no profile of {device!r} that {path} could be added to; leave --add away to make it")
    profile = load_device(device)
    if differences := _unlike(profile, found):
        raise UserError(
            f"{path}: cannot be added to {device!r}, measured with {'; '.join(differences)}: "
            "leave --add away and give another name with --device"
        )
    require_agreement(found.records, profile.protocol.clock, device, accept_noise)
    return profile.with_records([_scaled(record, profile, found.protocol) for record in found.records])


def _unlike(profile: DeviceProfile, found: Results) -> list[str]:
    """The differences, in words, that make the latencies of the two incomparable."""
    ours = (profile.protocol.clock, profile.num_classes, profile.reference.sha256)
    theirs = (found.protocol.clock, found.manifest["num_classes"], found.manifest["reference"]["sha256"])
    words = ("{} time, not {}", "{} classes, not {}", "reference network {:.8}, not {:.8}")
    others = [text.format(a, b) for text, a, b in zip(words, ours, theirs, strict=True) if a != b]
    return profile.device.differences(found.device) + others


def _scaled(record: Record, profile: DeviceProfile, protocol: Protocol) -> Record:
    """The record scaled by the profile's quiet time; without its energy where the two meters differ."""
    measurement = Measurement.of(record.passes, protocol.clock, profile.reference_ms)
    same_meter = protocol.energy_meter == profile.protocol.energy_meter
    energy_j = record.energy_j if same_meter else None
    return record.model_copy(update={"measurement": measurement, "energy_j": energy_j})


def _records(content: dict[str, Any], clock: str) -> list[Record]:
    """Every measured network with all its passes; each architecture must be the one that was packed."""
    packed = {n["id"]: n["architecture"] for n in content["manifest"]["networks"]}
    measured = [(n, [PASS_ADAPTER.validate_python(p) for p in n["passes"]]) for n in content["networks"]]
    reference_ms = min(p.reference_ms(clock) for _, passes in measured for p in passes)
    if len({network["id"] for network, _ in measured}) < len(measured):
        raise ValueError("one network was measured twice")
    records = []
    for network, passes in measured:
        if len(passes) < standalone.PASSES:
            raise ValueError(f"network {network['id']} has {len(passes)} passes, not {standalone.PASSES}")
        architecture = Architecture.from_dict(packed[network["id"]], source=network["id"])
        if architecture.id != network["id"]:
            raise ValueError(f"network {network['id']} is described as {architecture.id}")
        records.append(
            Record(
                id=network["id"],
                architecture=packed[network["id"]],
                measurement=Measurement.of(passes, clock, reference_ms),
                passes=tuple(passes),
                memory_bytes=network.get("memory_bytes"),
                energy_j=network.get("energy_j"),
            )
        )
    return records


def pack_id(manifest: dict[str, Any]) -> str:
    """A hash of everything in the manifest but the id itself."""
    return _digest(json.dumps(manifest, sort_keys=True).encode())[:16]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
