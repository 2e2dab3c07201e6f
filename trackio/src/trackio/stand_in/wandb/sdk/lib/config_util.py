"""transformers imports this error before it writes the configuration (5.23.0, `WandbCallback.setup`)."""

from trackio.wandb import ConfigError

__all__ = ["ConfigError"]
