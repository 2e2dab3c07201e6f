"""What the kit itself costs, as ratios and medians of one run (`python benchmarks/overhead.py [rounds]`):

* live: `trainer.train()` with witness and tracker at their doors, against the same with the tracker alone and without
  anything (goal: at most 1.15 times the bare one);
* replay: one golden tape through CallbackHandler with witness and watch, against the same with the tracker alone
  (goal: less than 1 ms beyond the tracker's own cost);
* start: seconds until the warm parent has imported TRL.

Needs TRL and the reference tracker. Every measurement is a forked child of one warm parent; variants alternate.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def train(kind: str, trainer: Any, place: Path, models: Path) -> float:
    """Return the seconds of `trainer.train()`: `bare`, with the `tracker`, or with tracker and `witness`."""
    from conformance import recipes, registry, tape
    from conformance.doors import callback, module

    attached = callback.Attachment()
    if kind != "bare":
        attached = callback.attach(registry.load("reference")(), place, place.name)
    with contextlib.ExitStack() as doors:
        if kind == "witness":
            writer = tape.Writer(place / "tape.jsonl", {})
            doors.enter_context(callback.stand(attached, writer))
            doors.enter_context(module.stand(("trackio",), [], writer))
        settings = {"report_to": attached.report_to or "none", "run_name": place.name}
        built = recipes.build(trainer, place / "out", models, attached.callbacks, settings)
        started = time.perf_counter()
        built.train()
        return time.perf_counter() - started


def play(kind: str, recorded: dict[str, Any], place: Path, models: Path) -> float:
    """Return the seconds of one replay, the handler's construction aside."""
    from conformance import registry, tape
    from conformance.doors import callback

    played = tape.Tape.from_json(recorded)
    attached = callback.attach(registry.load("reference")(), place, place.name)
    doors = contextlib.ExitStack()
    if kind == "witness":
        doors.enter_context(callback.stand(attached, tape.Writer(place / "tape.jsonl", {})))
    with doors:
        handler, state, control, args = callback.handler(attached, place.name, place / "out", models)
    started = time.perf_counter()
    callback.play(handler, args, state, control, played)
    return time.perf_counter() - started


def main(rounds: int) -> None:
    """Measure and print."""
    from conformance.bench import tapes
    from conformance.sandbox import Sandbox
    from conformance.trainers import discover

    folder = Path(tempfile.mkdtemp())
    (folder / "store").mkdir()
    env = {"TRACKIO_DIR": str(folder / "store"), "PYTHONPATH": str(Path(__file__).parent)}
    with Sandbox(env, "conformance.jobs:preload", folder / "sandbox") as sandbox:
        number = 0

        def median(function: str, kinds: tuple[str, ...], **arguments: Any) -> dict[str, float]:
            nonlocal number
            seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
            for _ in range(rounds):
                for kind in kinds:
                    number += 1
                    place = folder / f"{function}-{number}"
                    place.mkdir()
                    outcome = sandbox.run(
                        f"overhead:{function}", kind=kind, place=place, models=folder / "m", **arguments
                    )
                    if outcome.state != "ok":
                        raise SystemExit(f"{function} {kind}: {outcome.error}\n{outcome.trace}")
                    seconds[kind].append(outcome.value)
            return {kind: statistics.median(values) for kind, values in seconds.items()}

        print(f"start: warm parent ready after {sandbox.seconds:.1f} s; medians of {rounds} rounds")
        for trainer in [t for t in discover() if t.stable]:
            found = median("train", ("bare", "tracker", "witness"), trainer=trainer)
            ratio, own = found["witness"] / found["bare"], found["witness"] / found["tracker"]
            print(
                f"live   {trainer.id:<14} bare {found['bare'] * 1e3:6.0f} ms   with tracker and witness {ratio:.2f}x, "
                f"of which the witness {own:.2f}x"
            )
        for name, recorded in tapes().items():
            found = median("play", ("tracker", "witness"), recorded=recorded.to_json())
            extra = (found["witness"] - found["tracker"]) * 1e3
            print(f"replay {name:<14} tracker {found['tracker'] * 1e3:6.2f} ms   witness and watch +{extra:.2f} ms")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
