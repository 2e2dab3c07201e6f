"""trl-conformance: does your experiment tracker store what TRL trained?

The names below are the whole public interface for authors of trackers; everything else may change.
"""

from __future__ import annotations

from pathlib import Path

from conformance.tracker import Point, Table, Tracker, report_to_key

__all__ = ["Point", "Table", "Tracker", "fixtures", "report_to_key"]
__version__ = "0.1.0"


def fixtures() -> Path:
    """Return the folder of the kit's data: inside the installed package, or the repository's `fixtures/`."""
    packaged = Path(__file__).parent / "_fixtures"
    return packaged if packaged.is_dir() else Path(__file__).parent.parent / "fixtures"
