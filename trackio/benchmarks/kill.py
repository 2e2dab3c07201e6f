"""Kill writers some hundred times and compare what they acknowledged with what is kept.

    python benchmarks/kill.py [kills] [first seed]

Ends with an error at the first record that was acknowledged and is not kept, or is not what was logged.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "jobs"))

from kills import MODES, kill


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    figures = {mode: Counter[str]() for mode in MODES}
    for seed in range(first, first + count):
        mode = MODES[seed % len(MODES)]
        with tempfile.TemporaryDirectory() as folder:
            figures[mode] += kill(Path(folder), mode, seed)
    for mode, found in figures.items():
        print(f"{mode:8}", "  ".join(f"{name} {found[name]:,}" for name in sorted(found)))
    total = sum(figures.values(), Counter())
    print(f"{total['records']:,} records acknowledged before {total['kills']} kills, all of them kept;")
    print(f"{total['more']} more were written and not yet acknowledged, {total['torn']} lines were torn")


if __name__ == "__main__":
    main()
