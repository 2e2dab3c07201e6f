"""Makes a store with the installed Trackio of Hugging Face, and its rows as JSON: trackio_store.py FOLDER.

`trackio-0.43.json` is the `rows.json` of release 0.43; `test_cli_import.py` says what must come back.
"""

import json
import os
import sqlite3
import sys

os.environ["TRACKIO_DIR"] = sys.argv[1]

import numpy

import trackio


def pixels(value: int) -> numpy.ndarray:
    return numpy.full((2, 3, 3), value, dtype="uint8")


config = {"lr": 1e-3, "nested": {"x": [1, None]}, "big": float("inf")}
trackio.init(project="my.proj", name="one", config=config, auto_log_gpu=False, auto_log_cpu=False)
for step in range(3):
    trackio.log(
        {"loss": 1 / (step + 3), "nan": float("nan"), "n": step, "text": "é", "flag": True}, step=step * 10
    )
trackio.log({"inf": float("-inf"), "none": None, "nested": {"a": [1, 2.5]}})
rows = [[1, trackio.Image(pixels(7))], [2, "NaN"]]
trackio.log({"table": trackio.Table(columns=["k", "im"], data=rows)}, step=40)
trackio.log({"image": trackio.Image(pixels(9), caption="c")}, step=41)
trackio.log({"histogram": trackio.Histogram([1, 2, 3, 3.0], num_bins=4)}, step=42)
traces = [trackio.Trace(messages=[{"role": "user", "content": str(i)}], metadata={"i": i}) for i in range(2)]
trackio.log({"traces": traces, "other": 1}, step=43)
trackio.log({"trace": traces[0]}, step=44)
trackio.log_system({"gpu/0/power": 61.5})
trackio.alert("title", "text", level=trackio.AlertLevel.WARN)
trackio.finish()
trackio.init(project="my.proj", name="two", auto_log_gpu=False, auto_log_cpu=False)
trackio.log({"loss": 0.5})
trackio.finish()
base = sqlite3.connect(os.path.join(sys.argv[1], "myproj.db"))
tables = {}
for name in ("metrics", "configs", "system_metrics", "traces", "alerts"):
    rows = base.execute(f"SELECT * FROM {name} ORDER BY rowid")
    columns = [column[0] for column in rows.description]
    # JSON has no bytes; Trackio keeps UTF-8 in them.
    cells = [[{"bytes": cell.decode()} if isinstance(cell, bytes) else cell for cell in row] for row in rows]
    tables[name] = {"columns": columns, "rows": cells}
with open(os.path.join(sys.argv[1], "rows.json"), "w") as file:
    json.dump(tables, file, indent=1)
