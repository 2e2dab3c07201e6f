"""Level 1, Record: is every point of every tape, and of generated payloads, kept as it was logged?

`replayed` plays a golden tape (a real training of this release, recorded) through transformers' CallbackHandler;
`payload` does the same with generated payloads.
"""

from conformance import tape
from conformance.court import Evidence, Payloads, clause
from conformance.truth import ABSENT, Difference


@clause("REC-01")
def test_every_number_is_stored(replayed: Evidence) -> None:
    replayed.holds()


@clause("REC-02")
def test_steps_are_the_trainers(replayed: Evidence) -> None:
    replayed.holds()


@clause("REC-03")
def test_none_is_not_stored_as_a_number(payload: Payloads) -> None:
    payload.hold("none")


@clause("REC-04")
def test_none_is_kept(payload: Payloads) -> None:
    payload.hold("none", whole=False)


@clause("REC-05")
def test_nan_is_kept(payload: Payloads) -> None:
    payload.hold("nan")


@clause("REC-06")
def test_infinity_is_kept(payload: Payloads) -> None:
    payload.hold("infinity")


@clause("REC-07")
def test_points_at_an_equal_step_are_kept(replayed: Evidence) -> None:
    replayed.holds()


@clause("REC-08")
def test_the_last_log_is_kept(replayed: Evidence) -> None:
    replayed.holds()


@clause("REC-09")
def test_order_is_kept(replayed: Evidence) -> None:
    replayed.holds()


@clause("REC-10")
def test_nothing_is_invented(replayed: Evidence) -> None:
    replayed.holds()


@clause("REC-11")
def test_floats_are_kept_bit_for_bit(payload: Payloads) -> None:
    payload.hold("float")


@clause("REC-12")
def test_the_callers_logs_are_not_changed(replayed: Evidence) -> None:
    edited = [
        Difference("edited", e["step"], key, e["before"].get(key, ABSENT), e["after"].get(key, ABSENT), e["step"])
        for e in replayed.run.tape.of("edited")
        for key in sorted(e["before"].keys() | e["after"].keys())
        if e["before"].get(key, ABSENT) != e["after"].get(key, ABSENT)
    ]
    replayed.judge(edited, replay=replayed.run.tape)


@clause("REC-13")
def test_every_key_is_kept_apart(payload: Payloads) -> None:
    payload.hold("key")


@clause("REC-14")
def test_large_integers_are_kept(payload: Payloads) -> None:
    payload.hold("integer")


@clause("REC-15")
def test_texts_are_kept(payload: Payloads) -> None:
    payload.hold("text")


@clause("REC-16")
def test_recording_does_not_raise(replayed: Evidence) -> None:
    replayed.did_not_raise()


@clause("REC-17")
def test_numpy_and_torch_scalars_are_kept(payload: Payloads) -> None:
    payload.hold("scalar")


@clause("REC-18")
def test_runs_are_kept_apart(attached: Evidence) -> None:
    other = tape.from_payloads([{"loss": 7.0, "only/other": 7.0}], first_step=100)
    attached.require_end(attached.bench.replay("other", other))
    strangers = {7.0}
    mixed = [
        Difference("mixed", s.step, s.key, ABSENT, s.value, s.step)
        for s in attached.done.again(attached.bench)
        if s.value in strangers or s.step == 100
    ]
    attached.judge(mixed)


@clause("REC-19")
def test_values_are_kept(replayed: Evidence) -> None:
    replayed.holds()


@clause("REC-20")
def test_nested_values_are_kept(payload: Payloads) -> None:
    payload.hold("nested")


@clause("REC-16")
def test_the_gap_again(recorded: Evidence) -> None:
    """With `--replay FILE` alone: the tape of an earlier gap, judged by that gap's clause."""
    recorded.did_not_raise()
    recorded.holds()
