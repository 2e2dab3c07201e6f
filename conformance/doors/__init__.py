"""The ways in which training reaches a tracker, and the witnesses that stand at them.

`callback`: `report_to` names and `callbacks=`. `module`: TRL, or transformers' reporting callback, calls the tracker's
module itself. `accelerate`: trainers without callbacks log by `Accelerator(log_with=…)`. A witness stands immediately
before the tracker and writes what passes to the tape.
"""
