from pathlib import Path

from conformance.registry import load

HonestModule = load(f"{Path(__file__).with_name('honest.py')}:HonestModule")


class KeepsTenCells(HonestModule):
    """Keeps the first ten cells of a table."""

    def rows(self, table):
        return table.rows[: 10 // len(table.columns)]
