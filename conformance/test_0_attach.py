"""Level 0, Attach: can the tracker be given to a trainer of this release at all?"""

from conformance.court import Evidence, clause
from conformance.surface.scan import uses


@clause("ATT-01")
def test_attaching_does_not_raise(attached: Evidence) -> None:
    run = attached.run
    if run.stage == "attach" and not run.error.startswith("AttachError"):
        attached.fails(f"{run.error}\n{run.trace}")


@clause("ATT-02")
def test_is_accepted_at_its_door(attached: Evidence) -> None:
    run = attached.run
    if run.stage == "build" or run.error.startswith("AttachError"):
        attached.fails(run.error)


@clause("ATT-03")
def test_hooks_take_what_they_are_called_with(attached: Evidence) -> None:
    unfit = attached.ask("conformance.jobs:hooks", store=attached.bench.store, run="hooks")
    if unfit:
        attached.fails("\n".join(unfit))


@clause("ATT-04")
def test_the_module_has_what_this_release_calls(attached: Evidence) -> None:
    wanted = uses(attached.bench.adapter.module)
    unserved = attached.ask(
        "conformance.jobs:surface", store=attached.bench.store, run="surface", uses=[use.to_json() for use in wanted]
    )
    if unserved:
        attached.fails("\n".join(f"{use['problem']}    {use['where']}" for use in unserved))


@clause("ATT-05")
def test_can_be_read_from_a_fresh_process(attached: Evidence) -> None:
    attached.must_have_ended()
    points = attached.run.kept["points"]
    if "error" in points:
        attached.fails(f"{points['error']}\n{points['trace']}")
    if not points["value"]:
        attached.fails("nothing at all is read back, though the trainer logged 4 numbers")
