"""A file system of its own that is really full; mounting it takes root, and namespaces that are allowed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from test_faults import JOBS, check_full


def test_a_disk_that_is_really_full(store: Path, tmp_path: Path) -> None:
    small, copy = tmp_path / "small", tmp_path / "store"
    small.mkdir()
    script = (
        f"mount -t tmpfs -o size=96k none {small} && mkdir {small}/store && "
        f"TRACKIO_DIR={small}/store {sys.executable} {JOBS / 'full.py'} {small} && cp -r {small}/store {copy}"
    )
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "error OSError: [Errno 28] No space left on device" in done.stdout
    check_full(done.stdout)
