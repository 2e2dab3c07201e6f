"""What the Hub answers, a module per part of its API; importing this package registers all of them."""

from conformance.hub.routes import (
    accounts,
    buckets,
    commits,
    copies,
    discussions,
    files,
    large,
    refs,
    repos,
    spaces,
    xet,
)

__all__ = [
    "accounts",
    "buckets",
    "commits",
    "copies",
    "discussions",
    "files",
    "large",
    "refs",
    "repos",
    "spaces",
    "xet",
]
