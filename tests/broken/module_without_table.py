from pathlib import Path

from conformance.registry import load

HonestModule = load(f"{Path(__file__).with_name('honest.py')}:HonestModule")


class ModuleWithoutTable(HonestModule):
    """Serves the name `trackio` without the class `Table`."""

    def names(self):
        return {name: value for name, value in super().names().items() if name != "Table"}
