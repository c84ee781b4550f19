"""The scheduler, on an engine that does nothing."""

from __future__ import annotations

from types import SimpleNamespace

from harness.executors.drive import _run
from harness.executors.engine import Returned, Running
from harness.records import Part, Trial

PART = Part("toy", "toy_plugin:Toy", {}, "code")


class Late:
    """An engine whose monitor still tells of a trial of each chunk that is done."""

    slots = 1

    def __init__(self) -> None:
        self.tickets: list[int] = []
        self._is_asked_again = False

    def submit(self, ticket, trials):
        self.tickets.append(ticket)

    def wait(self, seconds):
        self._is_asked_again = not self._is_asked_again

        return [] if self._is_asked_again else [Returned(self.tickets[-1])]

    def running(self):
        return [Running(ticket, 7, False, 0.0, None, {}) for ticket in self.tickets[:-1]]


def test_a_late_word_of_a_chunk_is_not_taken_for_one_of_a_later_round():
    trial = Trial(PART, PART, PART, {}, 0)
    shown = []
    delivery = SimpleNamespace(
        elsewhere={"key": trial},
        deliver=lambda finished, returned: None,
        still_wanted=lambda trials: trials,
        listener=SimpleNamespace(running=shown.append, say=lambda line: None),
    )

    def wait_elsewhere():
        delivery.elsewhere = {}
        return [trial]

    delivery.wait_elsewhere = wait_elsewhere
    engine = Late()

    _run([trial], engine, delivery, {})

    assert len(engine.tickets) == 2
    assert shown == [[], []]
