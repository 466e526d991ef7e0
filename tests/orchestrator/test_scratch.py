"""The temporary folder of a rank, when its process does not come to tidy up."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

HOLDER = """
from orchestrator.execution.scratch import scratch_folder
folder = scratch_folder()
(folder / "checkpoint").mkdir()
print(folder, flush=True)
input()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, None])
def test_a_scratch_folder_goes_with_its_process(number: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        folder = Path(process.stdout.readline().decode().strip())
        assert (folder / "checkpoint").is_dir() and folder.parent == tmp_path
        if number:
            process.send_signal(number)
        else:
            process.stdin.close()
        process.wait()
    deadline = time.monotonic() + 10
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(tmp_path.iterdir())
