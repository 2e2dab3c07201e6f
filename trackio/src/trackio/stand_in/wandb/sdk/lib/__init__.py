"""See `config_util`."""

from . import config_util

__all__ = ["config_util"]
