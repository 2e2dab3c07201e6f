"""Arrays and tensors: bytes, dtype and shape, without importing the library that made them.

numpy and torch are looked up in `sys.modules`: a caller who passes an array has imported its library.
"""

from __future__ import annotations

import math
import struct
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .values import Encoder

#: dtype name → format letter of `struct`, little endian.
_FORMATS = {
    "bool": "?",
    "int8": "b",
    "uint8": "B",
    "int16": "h",
    "uint16": "H",
    "int32": "i",
    "uint32": "I",
    "int64": "q",
    "uint64": "Q",
    "float16": "e",
    "float32": "f",
    "float64": "d",
    "bfloat16": "H",
    "complex64": "f",
    "complex128": "d",
}

#: dtypes whose scalars are exactly a Python float, int or bool, so that nothing need be said about them.
_PLAIN = ("float64", "int64", "bool")


class Array:
    """An array that came back from a journal: `dtype` (a name such as `float32`), `shape`, `data` (little
    endian, C order).
    """

    __slots__ = ("data", "dtype", "shape")

    def __init__(self, dtype: str, shape: tuple[int, ...], data: bytes) -> None:
        self.dtype, self.shape, self.data = dtype, shape, data

    def tolist(self) -> Any:
        """Return nested lists of Python numbers. Raises TypeError for a dtype Python cannot read, such as
        float8.
        """
        if (letter := _FORMATS.get(self.dtype)) is None:
            raise TypeError(f"no Python number for dtype {self.dtype}; use .data")
        size = struct.calcsize(f"<{letter}")
        flat: list[Any] = list(struct.unpack(f"<{len(self.data) // size}{letter}", self.data))
        if self.dtype == "bfloat16":
            # The upper half of a float32, so the lower half is zero.
            wide = b"".join(b"\0\0" + struct.pack("<H", x) for x in flat)
            flat = list(struct.unpack(f"<{len(flat)}f", wide))
        elif self.dtype.startswith("complex"):
            flat = [complex(*pair) for pair in zip(flat[::2], flat[1::2], strict=True)]
        return _fold(flat, self.shape)

    def item(self) -> Any:
        """Return the only element. Raises ValueError if there is not exactly one."""
        if math.prod(self.shape) != 1:
            raise ValueError(f"an array of shape {self.shape} is not one value")
        value = self.tolist()
        while isinstance(value, list):
            value = value[0]
        return value

    def numpy(self) -> Any:
        """Return a numpy array; bfloat16 becomes float32, which holds it exactly. Raises ImportError
        without numpy.
        """
        import numpy

        if self.dtype == "bfloat16":
            return numpy.array(self.tolist(), dtype="float32").reshape(self.shape)
        dtype = numpy.dtype(self.dtype).newbyteorder("<")
        return numpy.frombuffer(self.data, dtype=dtype).reshape(self.shape).copy()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        array = self.numpy()
        return array if dtype is None else array.astype(dtype)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Array):
            return NotImplemented
        return (self.dtype, self.shape, self.data) == (other.dtype, other.shape, other.data)

    def __hash__(self) -> int:
        return hash((self.dtype, self.shape))

    def __repr__(self) -> str:
        return f"Array(dtype={self.dtype!r}, shape={self.shape}, {len(self.data)} bytes)"


def _fold(flat: list[Any], shape: tuple[int, ...]) -> Any:
    if not shape:
        return flat[0]
    if len(shape) == 1:
        return flat
    step = math.prod(shape[1:])
    return [_fold(flat[i * step : (i + 1) * step], shape[1:]) for i in range(shape[0])]


def encode_array(array: Array, encode: Encoder) -> dict[str, Any]:
    """Return the record of an `Array`."""
    return {"$": "array", "dtype": array.dtype, "shape": list(array.shape), "v": encode.data(array.data)}


def _scalar(value: Any, library: str, dtype: str, encode: Encoder, plain: bool = True) -> Any:
    if plain and dtype in _PLAIN:
        return encode(value)
    return {"$": "scalar", "type": f"{library}.{dtype}", "v": encode(value), "plain": plain}


def encode_numpy(value: Any, encode: Encoder) -> Any:
    """Return the record of a numpy scalar or array, None if `value` is neither."""
    numpy = sys.modules.get("numpy")
    if numpy is None or not hasattr(numpy, "generic"):
        return None
    if isinstance(value, numpy.generic):
        if isinstance(value, (str, bytes)):
            return None  # equal to a plain str or bytes; the general rules know those
        return _numpy_scalar(value, encode)
    if not isinstance(value, numpy.ndarray):
        return None
    if value.shape == ():
        return encode(value[()])
    name = value.dtype.name
    if name in _FORMATS and not isinstance(value, numpy.ma.MaskedArray):
        data = numpy.ascontiguousarray(value, dtype=value.dtype.newbyteorder("<")).tobytes()
        return encode_array(Array(name, value.shape, data), encode)
    shape = list(value.shape)
    return {"$": "ndarray", "type": str(value.dtype), "v": encode({"shape": shape, "items": value.tolist()})}


def _numpy_scalar(value: Any, encode: Encoder) -> Any:
    name, kind = value.dtype.name, value.dtype.kind
    if kind == "b":
        return bool(value)
    if kind in "iu":
        return _scalar(int(value), "numpy", name, encode)
    if kind == "f" or name == "bfloat16" or name.startswith("float8"):
        number = float(value)
        if number == value or number != number:
            return _scalar(number, "numpy", name, encode)
    elif kind == "c":
        pair = complex(value)
        if pair == value or pair != pair:
            return _scalar(pair, "numpy", name, encode)
    # longdouble beyond a double, datetime64, timedelta64, records: their text is exact, no Python value is.
    return _scalar(str(value), "numpy", str(value.dtype), encode, plain=False)


def encode_tensor(value: Any, encode: Encoder) -> Any:
    """Return the record of a torch tensor, None if `value` is none; detached and from any device."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "Tensor") or not isinstance(value, torch.Tensor):
        return None
    dtype = str(value.dtype).removeprefix("torch.")
    if value.is_meta:
        return {"$": "meta", "type": f"torch.{dtype}", "v": {"shape": list(value.shape)}}
    if value.is_quantized:
        raise TypeError("its bytes mean nothing without scale and zero point; the text has them all")
    tensor = value.detach()
    if tensor.layout is not torch.strided:
        tensor = tensor.to_dense()
    tensor = tensor.cpu().resolve_conj().resolve_neg()
    if tuple(tensor.shape) == ():
        return _scalar(tensor.item(), "torch", dtype, encode)
    # A view as bytes needs no numpy dtype, and there is none for bfloat16.
    data = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return encode_array(Array(dtype, tuple(tensor.shape), data), encode)
