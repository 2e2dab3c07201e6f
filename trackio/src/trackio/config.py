"""The configuration: one object, `trackio.config`, for the life of the process.

Callers keep a reference (`from trackio import config`), so the object stays and its contents follow the
run. transformers writes 170 to 220 keys in one `update(..., allow_val_change=True)` and one more by item
assignment (5.23.0, integrations/integration_utils.py, `TrackioCallback.setup`); accelerate updates it too
(1.15.0, tracking.py, `TrackioTracker.store_init_configuration`). What is set before the first `init`
belongs to the first run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from .settings import VARIABLES, shown
from .values import Decoder, Encoder

Changes = dict[Any, Any]
#: Writes changes to the run's journal; given an exception, it counts it in the run's health.
Write = Callable[[Changes | Exception], None]


class Config(Mapping[Any, Any]):
    """A mapping that writes each change to its run.

    Values are kept as they would be read back, so a later change to the caller's object changes nothing
    here. Keys may have the names of methods: `config["update"]` is the key, `config.update` the method;
    assigning an attribute sets the key. `trackio.config` also has the fields of `TrackioConfig` as
    attributes, where no key has that name; they are no keys.
    """

    __slots__ = ("__data", "__write")
    __data: Changes
    __write: Write | None

    def __init__(self, data: Changes | None = None, write: Write | None = None) -> None:
        _bind(self, data or {}, write)

    def __getitem__(self, key: Any) -> Any:
        return self.__data[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self.__data))

    def __len__(self) -> int:
        return len(self.__data)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.update({key: value})

    def __getattr__(self, name: str) -> Any:
        # Asked for a slot, it is a copy being made, which has none yet: looking there would ask again,
        # forever.
        try:
            if name.startswith("_Config__"):
                raise KeyError(name)
            return self.__data[name]
        except KeyError:
            if self is CONFIG and name in VARIABLES:  # no key, and so neither counted nor written
                return shown(name)
            raise AttributeError(f"the configuration has no key {name!r}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self.update({name: value})

    def update(self, values: Any = None, /, allow_val_change: bool | None = None, **more: Any) -> None:
        """Set keys from a mapping, from pairs, or from an object's attributes (argparse.Namespace), and
        from keywords.

        `allow_val_change` is wandb's flag and no key; values may always change, and every change is a record.
        """
        try:
            new = {**_as_dict(values), **more}
        except Exception as error:
            if self.__write is None:
                raise
            self.__write(error)
            return
        if not new:
            return
        encode, decode = Encoder(), Decoder()
        self.__data.update({key: decode(encode(value)) for key, value in new.items()})
        if self.__write is not None:
            self.__write(new)

    def setdefault(self, key: Any, default: Any = None) -> Any:
        """Return the value of `key`, after setting it to `default` if it has none."""
        if key not in self.__data:
            self[key] = default
        return self.__data[key]

    def as_dict(self) -> Changes:
        """Return a copy as a dict."""
        return dict(self.__data)

    def __repr__(self) -> str:
        return f"Config({self.__data!r})"

    # Equal as a mapping, and still usable as a key of its own identity.
    __hash__ = object.__hash__


def _as_dict(values: Any) -> Changes:
    if values is None:
        return {}
    if isinstance(values, Mapping):
        return dict(values)
    if isinstance(values, Iterable):
        return dict(values)
    return dict(vars(values))


def _bind(config: Config, data: Changes, write: Write | None) -> None:
    object.__setattr__(config, "_Config__data", data)
    object.__setattr__(config, "_Config__write", write)


def bind(data: Changes, write: Write | None) -> None:
    """Make `trackio.config` show `data` from now on, in place, and pass changes to `write`."""
    _bind(CONFIG, data, write)


#: The one object. Before the first `init` it only collects.
CONFIG = Config()
