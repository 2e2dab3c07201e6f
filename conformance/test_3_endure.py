"""Level 3, Endure: evaluations and predictions around a training, two trainings, an exception, a killed process."""

from conformance.court import Endured, clause, scenario


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
