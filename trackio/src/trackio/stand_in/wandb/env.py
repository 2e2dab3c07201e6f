"""Where `init` looks for what it is not given."""

import os


def set_entity(value: str) -> None:
    """Set the entity of runs that begin from now on."""
    os.environ["WANDB_ENTITY"] = value


def set_project(value: str) -> None:
    """Set the project of runs that begin from now on."""
    os.environ["WANDB_PROJECT"] = value
