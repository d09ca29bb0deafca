import subprocess
import sys

import pytest

from nasbench import doctor


def test_every_check_tells_something_about_this_machine() -> None:
    found = doctor.checks()
    assert [check.name for check in found] == list(doctor.CHECKS)
    assert all(check.state in ("ok", "limited", "missing") and check.value for check in found)
    by_name = {check.name: check for check in found}
    assert "torch" in by_name["libraries"].value
    assert "CPUExecutionProvider" in by_name["onnxruntime"].value
    assert "GiB free" in by_name["cache"].value


def test_a_broken_part_does_not_hide_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> doctor.Check:
        raise OSError("libcudart.so: cannot open\nmore")

    monkeypatch.setitem(doctor.CHECKS, "onnxruntime", broken)
    found = doctor.checks()
    check = next(check for check in found if check.name == "onnxruntime")
    assert (check.state, check.value) == ("missing", "OSError: libcudart.so: cannot open")
    latency = next(part for part in doctor.parts(found) if part.name == "latency on this machine")
    assert latency.value == "cannot run: onnxruntime OSError: libcudart.so: cannot open"


def test_gpus_without_a_fitting_torch_are_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = {"name": "NVIDIA H100", "memory_bytes": 80 * 2**30, "driver": "550.1"}
    monkeypatch.setattr(doctor.hardware, "gpus", lambda: (gpu,))
    monkeypatch.setattr(doctor.environment, "torch_cuda", lambda: None)
    check = doctor.CHECKS["gpus"]()
    assert check.state == "limited"
    assert "torch is built without CUDA" in check.value
    monkeypatch.setattr(doctor.environment, "torch_cuda", lambda: "13.0")
    assert doctor.CHECKS["gpus"]().state == "ok"


def test_torch_is_not_imported() -> None:
    code = "import sys; from nasbench import doctor; doctor.parts(doctor.checks()); print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
