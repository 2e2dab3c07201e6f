"""The ways in which training reaches a tracker, and the witnesses that stand at them.

`callback`: `report_to` names and `callbacks=`. `module`: TRL, or transformers' reporting callback, calls the tracker's
module itself. A witness stands immediately before the tracker and writes what passes to the tape.
"""
