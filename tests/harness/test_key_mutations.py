"""
The key holds all code that decides a figure: what is left out of it can be edited, or taken away, and nothing changes.

`make test` tries one method a task and some drawn edits; `make test-all` all methods and a few hundred.
"""

from __future__ import annotations

import random
from collections import Counter

import mutations
import pytest
from bundled import REGISTRY

from harness.errors import BenchError

EDITS_IN_A_SAMPLE, EDITS_IN_ALL = 12, 400
pytestmark = pytest.mark.xdist_group("key mutations")


def first_of_each_task():
    return list({method.task: method for method in sorted(REGISTRY.methods, key=lambda method: method.name, reverse=True)}.values())


@pytest.fixture(scope="module")
def workbench(tmp_path_factory):
    return mutations.Workbench(REGISTRY, tmp_path_factory.mktemp("memo"))


def trial_of(workbench, method):
    try:
        return workbench.trial(method)
    except BenchError as error:
        pytest.skip(str(error))


def check_that_the_rest_is_not_needed(workbench, method):
    trial = trial_of(workbench, method)

    whole = workbench.run(trial)
    part = mutations.run_in_child(trial, mutations.without_what_is_not_reached(workbench.reached(trial)))

    assert whole.status == "ok", whole.error
    assert part.result == whole.result, part.error


def check_edits(workbench, methods, count, seed):
    """Try edits of modules that the trials of these methods import; count those that changed the key, that kept it, and that cannot be imported."""
    rng = random.Random(seed)
    trials = []
    for method in methods:
        try:
            trials.append(workbench.trial(method))
        except BenchError:  # data that cannot be had here
            continue
    found = Counter()
    for position in range(count):
        trial = trials[position % len(trials)]
        run = workbench.run(trial)
        module = rng.choice([name for name in run.modules if workbench.source(name) is not None])
        for edit in mutations.mutations_of(module, workbench.source(module), rng, 1):
            edited = mutations.MutatedIndex(REGISTRY.roots, edit)
            if workbench.key(trial, edited) != workbench.key(trial, workbench.code):
                found["changed"] += 1
                continue
            again = mutations.run_in_child(trial, edit)
            if "in exec_module" in again.error:  # code that cannot be imported gives no figure, whatever its key
                found["broken"] += 1
                continue
            if (
                'File "harness/parameters.py"' in again.error
            ):  # another type or bound of a parameter: the suite is refused before a trial is asked for
                found["refused"] += 1
                continue
            found["kept"] += 1
            assert again.result == run.result, f"{edit} changes {trial.method.name} and not its key: {again.error}"

    return found


@pytest.mark.slow
@pytest.mark.parametrize("method", first_of_each_task(), ids=lambda method: method.task)
def test_a_trial_needs_no_definition_that_its_key_leaves_out(workbench, method):
    check_that_the_rest_is_not_needed(workbench, method)


@pytest.mark.exhaustive
@pytest.mark.parametrize("method", REGISTRY.methods, ids=lambda method: f"{method.task}-{method.name}")
def test_no_trial_needs_a_definition_that_its_key_leaves_out(workbench, method):
    check_that_the_rest_is_not_needed(workbench, method)


@pytest.mark.slow
def test_an_edit_that_changes_a_figure_changes_the_key(workbench):
    found = check_edits(workbench, first_of_each_task(), EDITS_IN_A_SAMPLE, seed=0)

    assert found["changed"] > 0
    assert found["kept"] > 0


@pytest.mark.exhaustive
@pytest.mark.timeout(3600)
def test_hundreds_of_edits_that_change_a_figure_change_the_key(workbench):
    found = check_edits(workbench, REGISTRY.methods, EDITS_IN_ALL, seed=1)

    assert found.total() > 0.75 * EDITS_IN_ALL  # a module of a docstring alone has nothing to edit
    assert found["kept"] > 0.1 * EDITS_IN_ALL


@pytest.mark.slow
def test_a_definition_that_the_key_forgot_is_noticed(workbench):
    """The tests above can fail: without one definition that is reached, the trial does not come out the same."""
    trial = workbench.trial(REGISTRY.method("noisy_labels", "gce"))
    reached = workbench.reached(trial)
    for names in reached.values():
        names.discard("generalised_cross_entropy")

    part = mutations.run_in_child(trial, mutations.without_what_is_not_reached(reached))

    assert part.status == "failed"
    assert "is not in the key" in part.error
