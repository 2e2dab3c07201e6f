"""TensorBoard, as TRL users get it: by transformers' TensorBoardCallback."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from conformance.tracker import Point, Tracker, report_to_key


class TensorBoard(Tracker):
    """Scalars and texts of the event files; TensorBoard keeps float32, by its format."""

    distribution = "tensorboard"
    lacks: ClassVar[Mapping[str, str]] = {
        "exact": "scalars are float32, tensorboard/compat/proto/summary.proto: simple_value",
        "integer": "scalars are float32, tensorboard/compat/proto/summary.proto: simple_value",
    }

    def attach(self, store: Path, run: str) -> Any:
        from torch.utils.tensorboard import SummaryWriter
        from transformers.integrations import TensorBoardCallback

        # `report_to` would leave the folder to a training argument in transformers 4, to the environment in 5. A writer
        # that is given would not be there any more for an evaluation after the training.
        callback = TensorBoardCallback()
        callback._SummaryWriter = lambda log_dir=None: SummaryWriter(str(store / run))
        return callback

    def read(self, store: Path, run: str) -> Iterable[Point]:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(store / run), size_guidance={"scalars": 0, "tensors": 0}).Reload()
        for tag in events.Tags()["scalars"]:
            yield from (Point(e.step, tag, e.value) for e in events.Scalars(tag))
        for tag in events.Tags()["tensors"]:
            for e in events.Tensors(tag):
                for text in e.tensor_proto.string_val:
                    yield Point(e.step, tag.removesuffix("/text_summary"), text.decode())

    def key(self, key: str) -> str:
        return report_to_key(key)
