"""Level 3, Endure, at the Hub: only for trackers that claim it (`Tracker.hub`)."""

from conformance.court import clause, scenario
from conformance.pushes import Pushed


@clause("HUB-01")
@scenario("hub-up")
def test_everything_logged_arrives(pushed: Pushed) -> None:
    pushed.arrived()


@clause("HUB-02")
@scenario("hub-down")
def test_training_goes_on_while_the_hub_is_down(pushed: Pushed) -> None:
    pushed.goes_on()


@clause("HUB-03")
@scenario("hub-down")
def test_everything_arrives_once_the_hub_is_back(pushed: Pushed) -> None:
    pushed.arrived()


@clause("HUB-04")
@scenario("no-answer")
def test_nothing_is_there_twice_after_a_commit_without_an_answer(pushed: Pushed) -> None:
    pushed.arrived()


@clause("HUB-05")
@scenario("two-at-once")
def test_two_trainings_at_once_lose_nothing(pushed: Pushed) -> None:
    pushed.arrived()


@clause("HUB-06")
@scenario("rate-limit")
def test_a_rate_limit_is_waited_out(pushed: Pushed) -> None:
    pushed.waited()


@clause("HUB-07")
@scenario("hub-up")
def test_no_secret_leaves(pushed: Pushed) -> None:
    pushed.keeps_secrets()


@clause("HUB-08")
@scenario("hub-up")
def test_a_new_repository_is_private(pushed: Pushed) -> None:
    pushed.is_private()
