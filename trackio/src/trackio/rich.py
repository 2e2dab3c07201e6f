"""Values that are meant to be looked at: tables, images, traces of conversations, histograms.

Each is written by its `record` method and read back as an equal object of the same class. Constructors
check nothing: they are called in the middle of a training, and whatever cannot be written becomes a `repr`
marker in the journal.
"""

from __future__ import annotations

import math
import os
import struct
import sys
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from typing import Any

from .arrays import Array
from .values import Decoder, Encoder, rule_for


class Rich:
    """The common base; two are equal when what would be written of them is."""

    def record(self, encode: Encoder) -> dict[str, Any]:
        """Return the JSON object that is written to the journal."""
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.record(Encoder()) == other.record(Encoder())

    __hash__ = None  # type: ignore[assignment]


def recognise(value: Any) -> Rich | None:
    """Return `value` if it is rich, a `Table` for a pandas frame, an `Image` for a Pillow one, else None."""
    if isinstance(value, Rich):
        return value
    if _is_frame(value):
        return Table(dataframe=value)
    if _is_pillow(value):
        return Image(value)
    return None


def is_rich(value: Any) -> bool:
    """Tell whether `value` is rich, or a list of nothing but rich values (TRL logs lists of Image and of
    Trace).
    """
    if type(value) is list:
        return bool(value) and all(isinstance(item, Rich) for item in value)
    return isinstance(value, Rich)


def _is_frame(value: Any) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and hasattr(pandas, "DataFrame") and isinstance(value, pandas.DataFrame)


def _is_pillow(value: Any) -> bool:
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and hasattr(pillow, "Image") and isinstance(value, pillow.Image)


def _is_array(value: Any, *modules: str) -> bool:
    for name in modules:
        module = sys.modules.get(name)
        kind = getattr(module, "ndarray" if name == "numpy" else "Tensor", None)
        if kind is not None and isinstance(value, kind):
            return True
    return False


class Table(Rich):
    """Rows under named columns.

    Takes a pandas frame (TRL 0.20.0 and later), `data=` (rows as lists or as dicts, or a dict of columns;
    TRL 0.14.0 - 0.19.1), or `columns=` and `rows=` (TRL 0.7.1 - 0.13.0). The first two positions are those
    of both wandb 0.2x and Hugging Face's Trackio 0.43: `columns`, `data`. Other keywords of theirs are
    accepted and mean nothing here.
    """

    def __init__(
        self,
        columns: Any = None,
        data: Any = None,
        rows: Any = None,
        dataframe: Any = None,
        **ignored: Any,
    ) -> None:
        # The third and fourth positions differ between wandb and Trackio; a frame tells itself apart
        # wherever it stands.
        frames = [value for value in (dataframe, columns, data, rows) if _is_frame(value)]
        if frames:
            self.columns, self.rows = _frame(frames[0])
            return
        if data is None:
            data = rows if rows is not None else dataframe
        self.columns, self.rows = _rows(None if columns is None else list(columns), data)

    def add_data(self, *row: Any) -> None:
        """Append one row, as wandb's Table does."""
        self.rows.append(list(row))

    def record(self, encode: Encoder) -> dict[str, Any]:
        return {"$": "table", "columns": encode(list(self.columns)), "rows": encode(self.rows)}

    def __repr__(self) -> str:
        return f"Table({len(self.rows)} rows of {self.columns})"


def _frame(frame: Any) -> tuple[list[Any], list[list[Any]]]:
    # By position: two columns may have one name. `tolist` gives Python numbers where the dtype has them.
    columns = [frame.iloc[:, i].tolist() for i in range(frame.shape[1])]
    return list(frame.columns), [list(row) for row in zip(*columns, strict=True)]


def _rows(columns: list[Any] | None, data: Any) -> tuple[list[Any], list[list[Any]]]:
    if data is None:
        return columns or [], []
    if isinstance(data, Mapping):
        names = list(data) if columns is None else columns
        return names, [list(row) for row in zip(*(data.get(name, ()) for name in names), strict=False)]
    items = list(data)
    if items and all(isinstance(row, Mapping) for row in items):
        names = list(dict.fromkeys(key for row in items for key in row)) if columns is None else columns
        return names, [[row.get(name) for name in names] for row in items]
    rows = [list(row) if _is_row(row) else [row] for row in items]
    if columns is None:
        columns = list(range(max(map(len, rows), default=0)))
    return columns, rows


def _is_row(row: Any) -> bool:
    return isinstance(row, Iterable) and not isinstance(row, (str, bytes, Mapping))


class Image(Rich):
    """A picture: a Pillow image, an array, a path, or the bytes of an image file.

    Pixels are kept without loss: as PNG where PNG can hold them, else as the array itself or as raw Pillow
    bytes. A file is copied as it is, at the moment of `log`.
    """

    def __init__(self, value: Any, caption: str | None = None, **ignored: Any) -> None:
        self.value: Any = value.value if isinstance(value, Image) else value
        self.caption = caption
        #: Set where bytes do not say it themselves: the format they were logged with, and Pillow's mode and
        #: size.
        self._format: str | None = None
        self._mode: list[Any] | None = None

    def _parts(self) -> tuple[str, Any]:
        """Return the format (`png`, a file's suffix, `array`, `raw`) and the bytes, or the array."""
        value = self.value
        if _is_pillow(value):
            return self._pillow(value)
        if isinstance(value, (bytes, bytearray)):
            return self._format or _sniff(value), bytes(value)
        if isinstance(value, (str, os.PathLike)):
            with open(value, "rb") as file:
                data = file.read()
            return os.path.splitext(os.fspath(value))[1].lstrip(".").lower() or _sniff(data), data
        if _is_array(value, "numpy") and value.dtype.name == "uint8":
            shape = value.shape[:2] if value.ndim == 3 and value.shape[2] == 1 else value.shape
            if len(shape) == 2 or (len(shape) == 3 and shape[2] in (3, 4)):
                return "png", _png(value.tobytes(), shape)
        if isinstance(value, Array) or _is_array(value, "numpy", "torch"):
            return "array", value
        raise TypeError(f"not an image: {type(value).__name__}")

    def _pillow(self, image: Any) -> tuple[str, bytes]:
        if image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
            self._mode = [image.mode, list(image.size)]
            return "raw", image.tobytes()
        buffer = BytesIO()
        image.save(buffer, "PNG")
        return "png", buffer.getvalue()

    @property
    def format(self) -> str:
        """`png` or another suffix; `array`; `raw` (bytes of Pillow's `tobytes`)."""
        return self._parts()[0]

    @property
    def data(self) -> Any:
        """The bytes of the picture; an array for the format `array`."""
        return self._parts()[1]

    def to_pil(self) -> Any:
        """Return a Pillow image. Raises ImportError without Pillow, and what Pillow raises for bytes it
        cannot read.
        """
        import PIL.Image

        form, data = self._parts()
        if form == "array":
            return PIL.Image.fromarray(data.numpy() if hasattr(data, "numpy") else data)
        if self._mode and form == "raw":
            return PIL.Image.frombytes(self._mode[0], tuple(self._mode[1]), data)
        return PIL.Image.open(BytesIO(data))

    def record(self, encode: Encoder) -> dict[str, Any]:
        form, data = self._parts()
        value = encode(data) if form == "array" else encode.data(data)
        return {"$": "image", "format": form, "mode": self._mode, "caption": encode(self.caption), "v": value}

    def __repr__(self) -> str:
        return f"Image({type(self.value).__name__}, caption={self.caption!r})"


def _sniff(data: bytes | bytearray) -> str:
    heads = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpg", b"GIF8": "gif", b"RIFF": "webp", b"BM": "bmp"}
    return next((name for head, name in heads.items() if bytes(data[:8]).startswith(head)), "bin")


def _png(pixels: bytes, shape: Sequence[int]) -> bytes:
    """Write 8-bit pixels as PNG (ISO/IEC 15948), so that an array needs no Pillow."""
    height, width = shape[:2]
    channels = shape[2] if len(shape) == 3 else 1
    stride = width * channels
    lines = b"".join(b"\0" + pixels[y * stride : (y + 1) * stride] for y in range(height))

    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, {1: 0, 3: 2, 4: 6}[channels], 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


class Trace(Rich):
    """A conversation: `messages` as TRL's trainers build them (1.10.0 and later: list of dicts) and
    `metadata`.
    """

    def __init__(self, messages: Any = None, metadata: Any = None, spans: Any = None, **ignored: Any) -> None:
        self.messages = [] if messages is None else messages
        self.metadata = {} if metadata is None else metadata
        self.spans = [] if spans is None else spans

    def record(self, encode: Encoder) -> dict[str, Any]:
        parts = {"messages": self.messages, "metadata": self.metadata, "spans": self.spans}
        return {"$": "trace", **{name: encode(part) for name, part in parts.items()}}

    def __repr__(self) -> str:
        return f"Trace(messages={self.messages!r}, metadata={self.metadata!r})"


class Histogram(Rich):
    """Counts in bins: of the finite numbers of `sequence`, or given as `np_histogram=(counts, edges)`."""

    def __init__(
        self, sequence: Any = None, np_histogram: Any = None, num_bins: int = 64, **ignored: Any
    ) -> None:
        self.sequence, self.np_histogram, self.num_bins = sequence, np_histogram, num_bins

    @property
    def histogram(self) -> list[Any]:
        """How many numbers fell into each bin."""
        return self._count()[0]

    @property
    def bins(self) -> list[Any]:
        """The edges of the bins: one more than there are bins, none where there was no finite number."""
        return self._count()[1]

    def _count(self) -> tuple[list[Any], list[Any]]:
        if self.np_histogram is not None:
            counts, edges = self.np_histogram
            return _flat(counts), _flat(edges)
        numbers = [x for x in map(float, _flat(self.sequence)) if math.isfinite(x)]
        if not numbers:
            return [], []
        bins = max(1, int(self.num_bins))
        low, high = min(numbers), max(numbers)
        if low == high:
            low, high = low - 0.5, high + 0.5
        # Halved before subtracting: the distance of two finite doubles may not be finite.
        width = high / bins - low / bins
        counts = [0] * bins
        for x in numbers:
            place = int((x / bins - low / bins) / width * bins) if width else 0
            counts[min(bins - 1, place)] += 1
        return counts, [*(low + i * width for i in range(bins)), high]

    def record(self, encode: Encoder) -> dict[str, Any]:
        counts, edges = self._count()
        return {"$": "histogram", "counts": encode(counts), "bins": encode(edges)}

    def __repr__(self) -> str:
        return f"Histogram({len(self.histogram)} bins)"


def _flat(values: Any) -> list[Any]:
    if values is None:
        return []
    if _is_array(values, "torch"):
        values = values.detach().cpu()
    if hasattr(values, "tolist"):
        values = values.tolist()
    if not isinstance(values, Iterable):
        return [values]
    flat: list[Any] = []
    for value in values:
        flat.extend(_flat(value) if isinstance(value, (list, tuple)) else [value])
    return flat


@rule_for("table")
def _read_table(record: dict[str, Any], decode: Decoder) -> Table:
    return Table(columns=decode(record["columns"]), rows=decode(record["rows"]))


@rule_for("image")
def _read_image(record: dict[str, Any], decode: Decoder) -> Image:
    value = decode(record["v"]) if record["format"] == "array" else decode.data(record["v"])
    image = Image(value, decode(record["caption"]))
    image._format, image._mode = record["format"], record["mode"]
    return image


@rule_for("trace")
def _read_trace(record: dict[str, Any], decode: Decoder) -> Trace:
    return Trace(decode(record["messages"]), decode(record["metadata"]), decode(record["spans"]))


@rule_for("histogram")
def _read_histogram(record: dict[str, Any], decode: Decoder) -> Histogram:
    return Histogram(np_histogram=(decode(record["counts"]), decode(record["bins"])))
