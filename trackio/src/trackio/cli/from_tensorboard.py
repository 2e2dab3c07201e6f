"""Runs from TensorBoard's event files: every event, none thinned out, values as they are stored.

Read with the record reader of the package `tensorboard` (2.21.0, backend/event_processing/
event_file_loader.py, `RawEventFileLoader`; extra `tensorboard`). A folder with event files is a run, named by
its path below LOGDIR, as TensorBoard names it. What has no equal here (graphs, layouts) is counted and told.
"""

from __future__ import annotations

import math
import os
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

from ..rich import Histogram, Image
from .common import UsageError, need, tell
from .importer import Found, Import, Marks

#: Bytes around each record in a file: length, its checksum, and that of the data (tensorflow/core/lib/io/
#: record_writer.h).
FRAME = 16


def runs(folder: str) -> Iterator[Found]:
    """Yield the runs below a folder, by name. Raises UsageError if there is none."""
    if not os.path.isdir(folder):
        raise UsageError(f"no folder {folder}")
    need("tensorboard.backend.event_processing.event_file_loader", "tensorboard")
    found = {}
    for place, _, files in os.walk(folder, followlinks=True):
        # As TensorBoard knows them: backend/event_processing/io_wrapper.py, `IsTensorFlowEventsFile`.
        if events := sorted(
            name for name in files if "tfevents" in name and not name.endswith(".profile-empty")
        ):
            name = os.path.relpath(place, folder)
            if name == ".":
                name = os.path.basename(os.path.abspath(folder))
            found[name] = [os.path.join(place, file) for file in events]
    if not found:
        raise UsageError(f"no event file (*tfevents*) below {folder}")
    for name, paths in sorted(found.items()):
        yield _Run(name, paths).found()


class _Run:
    def __init__(self, name: str, paths: list[str]) -> None:
        self.name = name
        #: Identity of each file: its name and when it was begun, so that a moved folder is still known.
        self.files: dict[str, str] = {}
        self._event = need("tensorboard.compat.proto.event_pb2", "tensorboard").Event.FromString
        for path in paths:
            for data in _records(path):
                self.files[f"{os.path.basename(path)}@{self._event(data).wall_time!r}"] = path
                break
        #: tag → the plugin that was named when it was first written; later events need not say.
        self._plugins: dict[str, str] = {}
        self._left: Counter[str] = Counter()

    def found(self) -> Found:
        return Found(self.name, list(self.files), self.read)

    def read(self, writer: Import, since: Marks) -> Marks:
        upto = {}
        for part, path in self.files.items():
            upto[part] = self._file(writer, path, since.get(part, 0))
        if self._left:
            parts = ", ".join(f"{count} {what}" for what, count in sorted(self._left.items()))
            tell(f"run {self.name!r}: not taken over: {parts}")
        return upto

    def _file(self, writer: Import, path: str, since: int) -> int:
        count = size = moment = 0
        for data in _records(path):
            count += 1
            size += len(data) + FRAME
            event = self._event(data)
            moment = nanoseconds(event.wall_time, moment)
            self._take(writer if count > since else None, moment, event)
        if rest := os.path.getsize(path) - size:
            why = "are no whole record: damaged, or still being written"
            tell(f"{path}: from byte {size} on {rest} bytes {why}")
        return count

    def _take(self, writer: Import | None, moment: int, event: Any) -> None:
        what = event.WhichOneof("what")
        if what != "summary":
            if writer is not None and what not in ("file_version", "source_metadata", "session_log", None):
                self._left[what] += 1
            return
        values: dict[str, Any] = {}
        for value in event.summary.value:
            plugin = self._plugins.setdefault(value.tag, value.metadata.plugin_data.plugin_name)
            if writer is None:
                continue
            if plugin == "hparams":
                self._hparams(writer, moment, value)
            elif value.WhichOneof("value") is None:
                self._left["empty values"] += 1
            elif value.tag in values:  # one event may hold a tag twice, a dict may not
                writer.log(moment, event.step, {value.tag: _value(plugin, value)})
            else:
                values[value.tag] = _value(plugin, value)
        if values and writer is not None:
            writer.log(moment, event.step, values)

    def _hparams(self, writer: Import, moment: int, value: Any) -> None:
        proto = need("tensorboard.plugins.hparams.plugin_data_pb2", "tensorboard")
        data = proto.HParamsPluginData.FromString(value.metadata.plugin_data.content)
        kind = data.WhichOneof("data")
        if kind != "session_start_info":
            self._left[f"hparams {kind}"] += 1
            return
        values = data.session_start_info.hparams
        writer.config(moment, {key: getattr(item, item.WhichOneof("kind")) for key, item in values.items()})


def _records(path: str) -> Iterator[bytes]:
    loader = need("tensorboard.backend.event_processing.event_file_loader", "tensorboard")
    try:
        yield from loader.RawEventFileLoader(path).Load()
    except Exception as error:
        # TensorFlow's errors, where it is installed. What was not read is told by the size.
        if type(error).__module__.split(".")[0] not in ("tensorflow", "tensorboard"):
            raise
        tell(f"{path}: {error}")


def nanoseconds(seconds: float, before: int = 0) -> int:
    """Return a wall time to the nearest nanosecond; dividing by 10**9 gives it back. NaN is as `before`."""
    if not math.isfinite(seconds) or abs(seconds) >= 2**33:
        return before
    whole = int(seconds)
    return whole * 10**9 + round((seconds - whole) * 1e9)


def _value(plugin: str, value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "simple_value":
        return value.simple_value
    if kind == "image":
        return Image(value.image.encoded_image_string)
    if kind == "histo":
        return _old_histogram(value.histo)
    if kind == "audio":
        return _audio(value.audio.encoded_audio_string, "", value.audio.sample_rate)
    if kind != "tensor":
        return getattr(value, kind)
    array = need("tensorboard.util.tensor_util", "tensorboard").make_ndarray(value.tensor)
    if plugin == "images" and array.ndim == 1 and len(array) > 2:
        images = [Image(bytes(data)) for data in array[2:]]  # width and height are in the image
        return images[0] if len(images) == 1 else images
    if plugin == "audio" and array.ndim == 2:
        clips = [_audio(bytes(row[0]), _text(row[1])) for row in array]
        return clips[0] if len(clips) == 1 else clips
    if plugin == "histograms" and array.ndim == 2 and array.shape[1] == 3:
        left, right, counts = array.T.tolist()
        if left[1:] == right[:-1]:
            return Histogram(np_histogram=(counts, left + right[-1:]))
    if array.dtype == object:
        texts = [_text(item) for item in array.reshape(-1)]
        return texts[0] if len(texts) == 1 else array.reshape(-1).tolist() if _binary(texts) else texts
    return array.item() if array.ndim == 0 else array


def _binary(texts: list[Any]) -> bool:
    return any(isinstance(text, bytes) for text in texts)


def _text(data: Any) -> Any:
    try:
        return data.decode() if isinstance(data, bytes) else str(data)
    except UnicodeDecodeError:
        return data


def _audio(data: bytes, label: Any, rate: float | None = None) -> dict[str, Any]:
    clip: dict[str, Any] = {"audio": data, "format": "wav"}
    return {**clip, **({"label": label} if label else {}), **({"sample_rate": rate} if rate else {})}


def _old_histogram(histo: Any) -> Histogram:
    counts, limits = list(histo.bucket), list(histo.bucket_limit)
    if limits and limits[-1] == sys.float_info.max:
        limits[-1] = histo.max
    # A first bucket without a count only says where the second begins (torch 2.13.0, utils/tensorboard/
    # summary.py, `make_histogram`).
    if len(counts) > 1 and not counts[0]:
        return Histogram(np_histogram=(counts[1:], limits))
    return Histogram(np_histogram=(counts, [histo.min, *limits] if counts else []))
