"""Cards: the metadata on top of a README.md."""

from __future__ import annotations

import re
from typing import Any

FRONT = re.compile(r"\A\s*---[ \t]*\r?\n(.*?)(?:\r?\n)?---[ \t]*(?:\r?\n|\Z)", re.DOTALL)

#: Names whose value is a text or a list of texts (huggingface_hub, repocard_data.py).
TEXTS = ("license", "tags", "datasets", "metrics", "base_model", "pretty_name", "pipeline_tag", "library_name")


def metadata(card: str) -> Any:
    """Return a card's metadata, None if it has none. Raises ValueError, whose message says what is wrong."""
    found = FRONT.match(card)
    if not found:
        return None
    try:
        import yaml
    except ImportError as error:
        raise ValueError("the Hub in memory reads cards with PyYAML, which is not installed") from error
    try:
        return yaml.safe_load(found[1])
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error


def problems(card: str) -> tuple[list[str], list[str]]:
    """Return what is wrong with a card, and what is only unusual."""
    try:
        data = metadata(card)
    except ValueError as error:
        return [str(error)], []
    if data is None:
        return [], ["empty or missing yaml metadata in repo card"]
    if not isinstance(data, dict):
        return ['"metadata" must be of type object'], []
    errors = []
    for name in TEXTS:
        value = data.get(name)
        items = value if isinstance(value, list) else [value]
        if value is not None and not all(isinstance(item, str) for item in items):
            errors.append(f'"{name}" must be a string or an array of strings')
    configs = data.get("configs", [])
    if not isinstance(configs, list) or not all(isinstance(c, dict) and "config_name" in c for c in configs):
        errors.append('"configs" must be an array of objects with a "config_name"')
    return errors, []
