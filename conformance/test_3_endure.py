"""Level 3, Endure: evaluations around a training, two trainings, failures, a resumed training, TRL's own callbacks."""

from conformance.companions import COMPANIONS
from conformance.court import Endured, clause, scenario
from conformance.doors import ledger
from conformance.trainers import release
from conformance.truth import ABSENT, Difference
from conformance.verdict import NotApplicable, Unreachable, Untestable


@clause("END-01")
@scenario("evaluate-first")
def test_an_evaluation_before_training_is_stored(endured: Endured) -> None:
    endured.holds_throughout()


@clause("END-02")
@scenario("evaluate-after")
def test_an_evaluation_after_training_is_stored(endured: Endured) -> None:
    endured.holds_throughout()


@clause("END-03")
@scenario("predict-after")
def test_a_prediction_after_training_does_no_harm(endured: Endured) -> None:
    endured.holds_throughout()


@clause("END-04")
@scenario("evaluate-only")
def test_an_evaluation_without_training_is_stored(endured: Endured) -> None:
    endured.holds_throughout()


@clause("END-05")
@scenario("twice")
def test_two_trainings_in_one_process_are_two_runs(endured: Endured) -> None:
    endured.holds_throughout()


@clause("END-06")
@scenario("fails")
def test_a_training_that_fails_keeps_what_it_logged(endured: Endured) -> None:
    endured.holds_throughout()


@clause("END-07")
@scenario("fails")
def test_a_training_that_failed_is_not_finished(endured: Endured) -> None:
    endured.ends_as_planned()
    status = endured.part("status")
    if status == "finished":
        endured.fails("status is 'finished' after an exception ended the training")


@clause("END-08")
@scenario("killed")
def test_a_killed_training_keeps_what_it_logged(endured: Endured) -> None:
    endured.holds_throughout()


def at_its_step(difference: Difference) -> bool:
    """Whether a difference is about a point as such: one kept for the run as a whole has no step to be asked for.

    Each part of a resumed training tells its duration once, and a tracker may keep that without a step.
    """
    return difference.kind != "step" or difference.stored_step is not None


@clause("END-09")
@scenario("resume")
def test_a_resumed_training_keeps_both_parts(endured: Endured) -> None:
    endured.holds_throughout(at_its_step)


def added(endured: Endured) -> dict[str, str]:
    """Return why callbacks of TRL's own could not be added to the training; raises NotApplicable if it has none."""
    told = next(endured.runs[0].tape.of("accompany"), None)
    if told is None:
        endured.ends_as_planned()
        raise Untestable("the training ended before callbacks could be added")
    if not told["made"] and not told["missing"]:
        raise NotApplicable(f"TRL {release('trl')} has no callbacks of its own")
    # What speaks to another tracker's module alone, and wants it installed, has nothing to tell this one.
    served = {"", *endured.bench.adapter.module}
    return {name: why for name, why in told["missing"].items() if name not in COMPANIONS or hears(name) in served}


def hears(name: str) -> str:
    """Return the tracker's module that alone is told what a callback of TRL's logs, "" if there is no such."""
    return COMPANIONS[name].hears


@clause("END-10")
@scenario("callbacks")
def test_trls_own_callbacks_cost_nothing(endured: Endured) -> None:
    missing = added(endured)
    try:
        endured.holds_throughout(at_its_step)
    except Unreachable:
        if not missing:
            raise
    if missing:
        raise Untestable("not made: " + "; ".join(f"{name} ({why})" for name, why in missing.items()))


@clause("END-11")
@scenario("callbacks")
def test_tables_of_trls_own_callbacks_are_stored(endured: Endured) -> None:
    added(endured)
    endured.require_end(endured.runs[0])
    tape = endured.runs[0].tape
    logged = ledger.tables(tape)
    if not logged:
        made = next(tape.of("accompany"))["made"]
        deaf = [name for name in made if hears(name) and hears(name) not in endured.bench.adapter.module]
        if deaf:
            where = f"{', '.join(deaf)} of TRL {release('trl')} tells {hears(deaf[0])} only"
            lost = Difference("missing", None, "Table", hears(deaf[0]), ABSENT, blame="trl", note=where)
            raise Unreachable(where, differences=(lost,))
        raise NotApplicable(f"no callback of TRL {release('trl')} logs a table where the kit can see it")
    # The trainer may log tables of its own.
    keys = {key for key, _ in logged}
    endured.judge(ledger.table_differences(logged, [t for t in endured.part("tables") if t[0] in keys]))
