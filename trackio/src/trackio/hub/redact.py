"""What never leaves this machine: tokens, wherever they were logged.

A token is known by its value (what the environment holds under a name such as `HF_TOKEN`, `WANDB_API_KEY` or
`DB_PASSWORD`, and the one used to push) or by its shape (Hugging Face's `hf_…`; hub-docs, security-tokens).
In what is pushed `***` stands in its place; the journal keeps what was logged.
"""

from __future__ import annotations

import os
import re

import orjson

_NAMES = re.compile(r"(?:^|_)(?:TOKEN|API_?KEY|ACCESS_KEY|SECRET|SECRET_KEY|PASSWORD|PASSWD)$", re.IGNORECASE)

#: User access tokens have 34 letters and digits after the prefix; nothing else that is logged looks so.
_SHAPE = rb"hf_[A-Za-z0-9]{30,}"

#: A shorter value would be found in texts that have nothing to do with it.
SHORTEST = 10

HIDDEN = "***"


class Redactor:
    """Replaces tokens in texts; made anew for each push, because the environment may change."""

    def __init__(self, token: str | None = None) -> None:
        values = {value for name, value in os.environ.items() if _NAMES.search(name)}
        values = {value for value in {*values, token or ""} if len(value) >= SHORTEST}
        # As JSON has them too: a quote or an umlaut in a password is escaped there.
        forms = {form for value in values for form in (_bytes(value), _escaped(value))}
        known = [re.escape(form) for form in sorted(forms, key=len, reverse=True)]
        self._bytes = re.compile(b"|".join([*known, _SHAPE]))
        self._longest = max(map(len, [*forms, b"x" * 256]))

    def __call__(self, text: str) -> str:
        """Return `text` with `***` for each token."""
        data = text.encode("utf-8", "surrogatepass")
        hidden, count = self._bytes.subn(HIDDEN.encode(), data)
        return hidden.decode("utf-8", "surrogatepass") if count else text

    def found_in(self, path: str) -> bool:
        """Tell whether a file holds a token. Raises OSError."""
        rest = b""
        with open(path, "rb") as file:
            while chunk := file.read(1 << 20):
                if self._bytes.search(rest + chunk):
                    return True
                rest = chunk[-self._longest :]
        return False


def _bytes(value: str) -> bytes:
    return value.encode("utf-8", "surrogateescape")


def _escaped(value: str) -> bytes:
    try:
        return orjson.dumps(value)[1:-1]
    except orjson.JSONEncodeError:  # not UTF-8; a journal has it as hexadecimal at most
        return _bytes(value)
