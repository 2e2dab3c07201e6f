"""Helpers that scripts use beside `init(id=...)`."""

import secrets
import string


def generate_id(length: int = 8) -> str:
    """Return a random id of small letters and digits."""
    return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(length))
