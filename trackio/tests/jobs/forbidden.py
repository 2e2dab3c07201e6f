"""A run whose folders and files lose their permissions, one after the other, and get them back."""

from __future__ import annotations

import os
from pathlib import Path

import trackio

root = Path(os.environ["TRACKIO_DIR"])
root.mkdir(mode=0o500)

run = trackio.init("p", "n")
trackio.log({"i": 0})
assert run.health()["dropped"] == 1 and "Permission denied" in run.health()["last_error"], run.health()
root.chmod(0o700)
trackio.log({"i": 1})

folder = Path(str(run.folder))
(journal,) = folder.glob("w-*")
folder.chmod(0o500)
journal.chmod(0o400)
trackio.log({"i": 2})  # the descriptor is open
trackio.log({"i": 3, "large": b"x" * 100_000})  # would have a file of its own
assert run.health()["dropped"] == 1, run.health()
trackio.finish()
trackio.log({"i": 4})  # wants to open the journal again
assert run.health()["dropped"] == 2, run.health()
journal.chmod(0o600)
trackio.log({"i": 5})
folder.chmod(0o700)
trackio.log({"i": 6, "large": b"y" * 100_000})
trackio.finish()
assert (run.health()["written"], run.health()["dropped"]) == (5, 2), run.health()
