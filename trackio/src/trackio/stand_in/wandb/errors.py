"""What can be caught."""

from trackio.wandb import CommError, Error, UsageError

__all__ = ["CommError", "Error", "UsageError"]
