"""Hold the gaps just found in third-party trackers against those that docs/trackers.md tells; exit 1 if they differ.

Only clauses that were tried in this run are compared; `untestable` is never expected.
"""

import json
import sys
from pathlib import Path

#: Tracker -> clauses with a gap on TRL 1.16, each looked at by hand once (docs/trackers.md).
KNOWN = {
    "wandb": set(),
    "tensorboard": set(),
    "trackio": {"REC-15", "REC-17", "TRN-11"},
}

wrong = []
for tracker, known in KNOWN.items():
    path = Path("results") / f"1.16-{tracker}.json"
    report = json.loads(path.read_text(encoding="utf-8"))
    tried = {r["clause"] for r in report["results"]}
    found = {r["clause"] for r in report["results"] if r["outcome"] == "gap"}
    untestable = [f"{r['id']}: {r['reason']}" for r in report["results"] if r["outcome"] == "untestable"]
    print(f"{tracker}: {report['checks']['ran']} checks ran, gaps in {', '.join(sorted(found)) or 'no clause'}")
    if found != known & tried:
        wrong.append(f"{tracker}: known gaps {sorted(known & tried)}, found {sorted(found)}")
    wrong += [f"{tracker}: untestable {line}" for line in untestable]
print(*wrong, sep="\n")
sys.exit(1 if wrong else 0)
