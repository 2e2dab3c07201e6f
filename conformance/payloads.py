"""Hypothesis strategies for what a trainer may log: keys and values, as encoded payloads (`conformance.values`).

Keys are drawn from the golden tapes of all trainers and perturbed; values are drawn by class, one class per clause, so
that a failing example is about that clause alone. `FIXED` are the examples that always run, and the only ones that run
where the tracker refuses the clause (random search under a refusal would flake).
"""

from __future__ import annotations

import functools
from typing import Any

from hypothesis import strategies as st

from conformance.bench import tapes
from conformance.values import TAG, encode

Payload = dict[str, Any]


@functools.cache
def known_keys() -> list[str]:
    """Return the keys that trainers of this release log while they train, without those of the run's summary."""
    keys = {p.key for tape in tapes().values() for p in tape.logged()}
    return sorted(k for k in keys if not k.startswith(("train_", "total_", "eval_")))


def keys() -> st.SearchStrategy[str]:
    """Keys as trainers log them."""
    return st.sampled_from(known_keys())


#: Characters that a Python function's name or a user's metric can bring into a key.
_LETTERS = st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp"))


def odd_keys() -> st.SearchStrategy[str]:
    """Keys as users cause them: a reward function's name, parentheses, spaces, unicode, up to 200 characters."""
    name = st.text(_LETTERS, min_size=1, max_size=24).filter(lambda s: s.strip() == s)
    long = st.integers(120, 180).map(lambda n: "long_" * (n // 5))
    rewards = st.one_of(name, long).map(lambda n: f"rewards/{n}/mean")
    return st.one_of(rewards, st.sampled_from(COLLIDING))


#: Pairs that a tracker may take for one.
COLLIDING = ["rewards/a/mean", "rewards_a_mean", "rewards.a.mean", "rewards/a.mean", "Rewards/a/mean", "rewards/a_mean"]
_FINITE = st.floats(allow_nan=False, allow_infinity=False, width=64)
ORDINARY = st.floats(-1e6, 1e6).map(lambda x: round(x, 6)).filter(lambda x: x == 0 or abs(x) > 1e-6)


def _tagged(library: str, dtype: str) -> Any:
    return lambda v: {TAG: library, "dtype": dtype, "v": v}


_FLOAT32 = st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=-1e6, max_value=1e6)
_SCALARS = st.one_of(
    _FLOAT32.map(_tagged("numpy", "float32")),
    st.floats(-1e6, 1e6).map(_tagged("numpy", "float64")),
    st.integers(-(2**31), 2**31 - 1).map(_tagged("numpy", "int64")),
    _FLOAT32.map(_tagged("torch", "float32")),
    st.integers(-(2**31), 2**31 - 1).map(_tagged("torch", "int64")),
)
_PLAIN = st.one_of(st.integers(-9, 9), st.text(max_size=8), st.booleans(), ORDINARY)
_NESTED = st.one_of(
    st.lists(_PLAIN, max_size=4),
    st.dictionaries(st.text("abcxyz_", min_size=1, max_size=6), _PLAIN, min_size=1, max_size=3),
    st.lists(st.lists(ORDINARY, max_size=2), max_size=2),
)
_TEXT = st.one_of(st.sampled_from(["NaN", "nan", "inf", "1.5", "None", "", "ok"]), st.text(_LETTERS, max_size=40))

#: Class of payload -> strategy of its values. One ordinary number always stands beside them.
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "none": st.none(),
    "nan": st.just(float("nan")),
    "infinity": st.sampled_from([float("inf"), float("-inf")]),
    "float": st.one_of(_FINITE, st.sampled_from([0.1, -0.0, 5e-324, 1e-310, 1.7976931348623157e308])),
    "integer": st.one_of(st.integers(2**53, 2**63 - 1), st.sampled_from([2**53 + 1, -(2**53) - 1, 2**62 + 3])),
    "text": _TEXT,
    "scalar": _SCALARS,
    "nested": _NESTED,
    "key": ORDINARY,
}


def payloads(kind: str) -> st.SearchStrategy[list[Payload]]:
    """One to four payloads (one per step) whose values are of the class `kind` (a key of VALUES)."""
    names = odd_keys() if kind == "key" else keys()
    special = st.dictionaries(names, VALUES[kind].map(_encoded), min_size=1, max_size=5)
    one = st.tuples(special, ORDINARY).map(lambda pair: {**pair[0], "loss": encode(pair[1])})
    return st.lists(one, min_size=1, max_size=4)


def _encoded(value: Any) -> Any:
    return value if isinstance(value, dict) and TAG in value else encode(value)


def _fixed(*rows: Payload) -> list[Payload]:
    return [{k: _encoded(v) for k, v in {"loss": 0.5, **row}.items()} for row in rows]


FIXED: dict[str, list[Payload]] = {
    "none": _fixed({"rewards/format/mean": None}, {"rewards/format/mean": 0.25}, {"rewards/format/mean": None}),
    "nan": _fixed({"kl": float("nan")}, {"kl": 0.25}, {"loss": float("nan"), "kl": float("nan"), "reward": 1.0}),
    "infinity": _fixed({"kl": float("inf")}, {"kl": float("-inf")}, {"kl": 2.0}),
    "float": _fixed({"kl": 0.1}, {"kl": -0.0}, {"kl": 1e-310}, {"kl": 1e308}, {"kl": 1.0000000000000002}),
    "integer": _fixed({"num_tokens": 2**53 + 1}, {"num_tokens": 2**62 + 3}, {"num_tokens": 2**63 - 1}),
    "text": _fixed({"note": "NaN"}, {"note": "1.5"}, {"note": "größer"}),
    "scalar": _fixed(
        {"reward": {TAG: "numpy", "dtype": "float32", "v": 0.5}, "kl": {TAG: "numpy", "dtype": "float64", "v": 0.1}},
        {"reward": {TAG: "torch", "dtype": "float32", "v": 1.5}, "kl": {TAG: "torch", "dtype": "float64", "v": 0.1}},
        {"num_tokens": {TAG: "numpy", "dtype": "int64", "v": 7}, "kl": {TAG: "torch", "dtype": "int64", "v": 8}},
    ),
    "nested": _fixed({"histogram": [1, 2.5, 3]}, {"detail": {"a": 1, "b": "x"}}),
    "key": _fixed(
        {"rewards/größe/mean": 1.0, "rewards/報酬/mean": 2.0, "rewards/🙂/mean": 3.0},
        {"rewards/<lambda>/mean": 1.0, "rewards/f(x, y=2)/mean": 2.0, "rewards/a b/mean": 3.0},
        {key: float(i) for i, key in enumerate(COLLIDING, 1)},
        {f"rewards/{'long_' * 36}/mean": 4.0},
    ),
}
