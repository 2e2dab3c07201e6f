"""What is current in this context: the run, its project, its Space.

transformers reads `current_space_id` right after `init` and `current_project` when it pushes (5.23.0,
integrations/integration_utils.py, `TrackioCallback.setup` and `on_push_begin`); TRL reads `current_run` for
the link in the model card (1.16.0, trainer/utils.py, `get_trackio_space_url`). All three ask with `.get()`
and expect None by default.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .run import Run

#: The run that `log` writes to in this context; None before `init` and after `finish`.
current_run: ContextVar[Run | None] = ContextVar("current_run", default=None)

#: The project of the latest `init` in this context. It outlives `finish`, because a push comes after it.
current_project: ContextVar[str | None] = ContextVar("current_project", default=None)

#: The Hugging Face Space that shows the run. Runs go to a dataset at most, so this stays None.
current_space_id: ContextVar[str | None] = ContextVar("current_space_id", default=None)
