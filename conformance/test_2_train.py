"""Level 2, Train: a live run of every stable trainer with evaluation and saving, beside the same without tracker."""

import re
from dataclasses import replace

from conformance.bench import litter
from conformance.court import Evidence, clause
from conformance.doors import ledger
from conformance.recipes import repeatable
from conformance.truth import ABSENT, Difference, compare, history
from conformance.values import plain
from conformance.verdict import NotApplicable

#: Metrics that are times: they differ between any two runs. PPO's `eps` is episodes per second; up to 0.11 it measures
#: times, under `time/`.
TIMES = re.compile(r"runtime|_per_second|step_time|time_s$|^eps$|^time/")


def is_evaluation(difference: Difference) -> bool:
    """Whether a difference is about a metric of an evaluation."""
    return difference.key.startswith("eval_")


def by_callbacks(trained: Evidence) -> None:
    """Raise NotApplicable if the trainer has no callbacks: accelerate hands on neither log_history nor control."""
    if trained.run.tape.end.get("door") == "accelerate":
        raise NotApplicable(f"{trained.subject} logs through accelerate, and knows no callbacks")


def never(trained: Evidence, event: str) -> str:
    """Return what to say if the trainer has callbacks but never sends them an event, "" otherwise.

    Iterative SFT has no such event, PPOv2 and RLOO of 0.9 forget them: a tracker that needs it cannot have it.
    """
    alone = trained.bare.tape
    if alone.end.get("door") == "accelerate" or any(alone.of(event)):
        return ""
    return f"{trained.subject} of this release never sends {event}"


@clause("TRN-01")
def test_training_ends_as_without_the_tracker(trained: Evidence) -> None:
    trained.did_not_raise()
    steps, alone = trained.run.tape.end["step"], trained.bare.tape.end["step"]
    if steps != alone:
        trained.fails(f"training ended at global_step {steps}, without the tracker at {alone}")


@clause("TRN-02")
def test_every_trained_point_is_stored(trained: Evidence) -> None:
    trained.holds(lambda d: not is_evaluation(d))


@clause("TRN-03")
def test_steps_are_the_trainers(trained: Evidence) -> None:
    trained.holds()


@clause("TRN-04")
def test_none_and_nan_stay_what_they_are(trained: Evidence) -> None:
    trained.holds()


@clause("TRN-05")
def test_log_history_is_what_passed_the_door(trained: Evidence) -> None:
    trained.must_have_ended()
    by_callbacks(trained)
    trained.judge(history(trained.run.tape))


@clause("TRN-06")
def test_evaluation_during_training_is_stored(trained: Evidence) -> None:
    if not any(p.key.startswith("eval_") for p in trained.bare.tape.logged()):
        raise NotApplicable(f"{trained.subject} does not evaluate in this release")
    trained.holds(is_evaluation)


@clause("TRN-07")
def test_the_tracker_does_not_steer(trained: Evidence) -> None:
    trained.must_have_ended()
    by_callbacks(trained)
    trained.judge(
        Difference("steered", e["step"], f"{e['on']} {flag}", e["before"][flag], e["after"][flag], e["step"])
        for e in trained.run.tape.of("steered")
        for flag in e["before"]
        if e["before"][flag] != e["after"][flag]
    )


@clause("TRN-08")
def test_the_same_is_trained_as_without_the_tracker(trained: Evidence) -> None:
    trained.must_have_ended()
    if trained.trainer and not repeatable(trained.trainer):
        raise NotApplicable(f"{trained.subject} trains asynchronously: any two trainings of it differ")
    changed = []
    with_tracker, alone = (run.tape.history() for run in (trained.run, trained.bare))
    for i in range(max(len(with_tracker), len(alone))):
        a = alone[i] if i < len(alone) else {}
        b = with_tracker[i] if i < len(with_tracker) else {}
        for key in sorted(a.keys() | b.keys()):
            before, after = (plain(entry[key]) if key in entry else ABSENT for entry in (a, b))
            if isinstance(after, list) and len(after) == 1 and not isinstance(before, list):
                # PPO unwraps arrays of one for every tracker but wandb (0.9.6, trainer/ppo_trainer.py:883).
                (after,) = after
            if not TIMES.search(key) and (ABSENT in (before, after) or compare(a[key], after) is not None):
                changed.append(Difference("changed", a.get("step", b.get("step")), key, before, after, event=i))
    trained.judge(changed)


@clause("TRN-09")
def test_the_run_is_closed(trained: Evidence) -> None:
    status = trained.part("status")
    if status != "finished" and (unsent := never(trained, "on_train_end")):
        trained.judge([Difference("status", None, "status", "finished", status, blame="trl", note=unsent)])
    if status != "finished":
        trained.fails(f"status is {status!r} after training ended well")


@clause("TRN-10")
def test_the_configuration_is_stored(trained: Evidence) -> None:
    found = ledger.config_differences(trained.done.tape, trained.part("config"))
    if unsent := never(trained, "on_train_begin"):
        found = [replace(d, blame="trl", note=unsent) for d in found]
    trained.judge(found)


@clause("TRN-11")
def test_completions_tables_are_stored(trained: Evidence) -> None:
    ledger.must_reach(trained, ledger.TABLES)
    logged = ledger.tables(trained.done.tape)
    if not logged:
        raise NotApplicable(f"{trained.subject} logs no table through the module in this release")
    trained.judge(ledger.table_differences(logged, trained.part("tables")))


@clause("TRN-12")
def test_values_logged_through_the_module_are_stored(trained: Evidence) -> None:
    ledger.must_reach(trained, ledger.PROFILING)
    logged = ledger.numbers(trained.done.tape)
    if not logged:
        raise NotApplicable(f"{trained.subject} logs no number through the module in this release")
    trained.judge(ledger.number_differences(logged, trained.done.stored()))


@clause("TRN-13")
def test_the_working_directory_stays_clean(trained: Evidence) -> None:
    trained.must_have_ended()
    assert trained.run
    assert trained.bare
    trained.judge(
        Difference("litter", None, name, ABSENT, "a file")
        for name in litter(trained.run)
        if name not in set(litter(trained.bare))
    )


@clause("TRN-14")
def test_the_same_checkpoints_are_saved(trained: Evidence) -> None:
    trained.must_have_ended()
    saved, alone = trained.run.tape.end["checkpoints"], trained.bare.tape.end["checkpoints"]
    if saved != alone:
        trained.fails(f"saved {', '.join(saved) or 'nothing'}; without the tracker {', '.join(alone)}")
