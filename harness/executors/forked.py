"""
What the two processes do that a fork server makes for a chunk of trials: one runs a method, the other judges it and has never run one.

Both answer in JSON and bytes: whatever a method has made of its own process, its parent reads nothing but data from it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from harness.executors.looks import Looks
from harness.executors.traces import Traces
from harness.executors.watch import hide_memory
from harness.records import Costs, Trial
from harness.seeds_at_once import train_at_once
from harness.trial import Scores, Trained, build_shared, judge, train

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from types import FrameType

__all__ = ["Message", "build", "judge_outcomes", "quiet_streams", "read_scores", "read_trained", "receive", "run_method", "run_program"]

POSITION = 4  # bytes that name a trial of the work by its position

Kind = Literal["began", "looked", "stepped", "trained", "failed", "built"]


class Message(NamedTuple):
    """
    What the process of a method says of the trial that it has in hand.

    Args:
        kind: ``began`` when its clock is set, ``looked`` when the method looks at what it must not see, ``stepped`` with the newest figures, ``trained`` with
            what came out, ``failed`` for a program of several seeds that gave nothing, ``built`` for what trials share.
        content: As JSON holds it.
        outcome: The packed outcome behind ``trained``, empty where there is none.
    """

    kind: Kind
    content: Mapping[str, Any]
    outcome: bytes = b""


class _Line:
    """The connection to the parent."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def say(self, kind: Kind, outcome: bytes = b"", **content: Any) -> None:  # Any: whatever JSON holds
        self._connection.send_bytes(json.dumps([kind, content]).encode() + b"\n" + outcome)

    def looked(self, what: str) -> None:
        with contextlib.suppress(OSError):  # the method has closed the connection, which is found out soon enough
            self.say("looked", what=what)

    def step(self, step: int, figures: Mapping[str, float]) -> None:
        self.say("stepped", step=int(step), figures={str(name): float(figure) for name, figure in figures.items()})

    def trained(self, trained: Trained) -> None:
        content = {field.name: getattr(trained, field.name) for field in fields(trained) if field.name not in ("outcome", "costs")}
        self.say("trained", trained.outcome or b"", **content, costs=None if trained.costs is None else asdict(trained.costs))


class _Observed:
    """What is watched of the trials of a method in this process."""

    def __init__(self, line: _Line, guarded: Sequence[str]) -> None:
        self._line = line
        self._traces = Traces()
        self._looks = Looks(guarded, line.looked)

    def beginning_of(self, trial: Trial) -> Callable[[], None]:
        """Return what is to be called when the code of the trial is imported."""

        def begin() -> None:
            self._traces.begin(trial, watched=self._looks.begin(trial))
            self._line.say("began")

        return begin

    def end(self) -> tuple[str, ...]:
        """Return what is not as it was."""
        self._looks.end()

        return self._traces.end()


def receive(connection: Connection) -> Message:
    """
    Read what the process of a method says.

    Raises:
        EOFError: It is gone.
        ValueError: It is none of what it may say.
    """
    head, _, outcome = connection.recv_bytes().partition(b"\n")
    kind, content = json.loads(head)
    if not isinstance(content, dict):
        raise ValueError("its message has no content")

    return Message(kind, content, outcome)


def run_method(connection: Connection, trials: Sequence[Trial], guarded: Sequence[str]) -> None:
    """Run trials of one method as the parent asks for them by their position, until it asks no more."""
    line = _Line(connection)
    observed = _Observed(line, guarded)
    interrupts = _Interrupts()
    while True:
        try:
            trial = trials[int.from_bytes(connection.recv_bytes(), "little")]
        except (EOFError, OSError):
            return
        try:
            trained = train(trial, line.step, observed.beginning_of(trial))
        except KeyboardInterrupt:
            if interrupts.came:
                return
            trained = Trained(None, "failed", "KeyboardInterrupt, which nobody has sent: the method raised it", {}, {}, None)
        line.trained(replace(trained, left=observed.end()))


def run_program(connection: Connection, trials: Sequence[Trial], guarded: Sequence[str]) -> None:
    """Train seeds as one program and send what came out of each; where the program fails, say so."""
    line = _Line(connection)
    observed = _Observed(line, guarded)
    try:
        trained = train_at_once(trials, line.step, observed.beginning_of(trials[0]))
    except BaseException:  # foreign code; its error is in the record of the seed that raises it alone
        line.say("failed")
    else:
        left = observed.end()
        for one in trained:
            line.trained(replace(one, left=left))
    connection.recv_bytes()  # until the parent has read all


def build(connection: Connection, trial: Trial) -> None:
    """Build what a trial shares with others."""
    line = _Line(connection)
    line.say("built", error=build_shared(trial, line.step, lambda: line.say("began")))
    connection.recv_bytes()


def judge_outcomes(connection: Connection, trials: Sequence[Trial]) -> None:
    """Score each outcome that the parent sends behind the position of its trial; no process of a method can read this one's memory, unless it is root's."""
    hide_memory()
    while True:
        try:
            asked = connection.recv_bytes()
        except (EOFError, OSError):
            return
        scores = judge(trials[int.from_bytes(asked[:POSITION], "little")], asked[POSITION:])
        connection.send_bytes(json.dumps(asdict(scores)).encode())


def read_trained(message: Message) -> Trained:
    """
    Rebuild what came out of a trial.

    Raises:
        ValueError: It is not what that is.
    """
    content = dict(message.content)
    try:
        costs = content["costs"]
        return Trained(
            outcome=message.outcome or None,
            status=content["status"],
            error=content["error"],
            curves=_curves(content["curves"]),
            witnesses={str(name): str(value) for name, value in content["witnesses"].items()},
            costs=None if costs is None else Costs(**costs),
            left=tuple(map(str, content["left"])),
        )
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def read_scores(packed: bytes) -> Scores:
    """Rebuild the figures that a judge found."""
    content = json.loads(packed)

    return Scores(**{**content, "curves": _curves(content["curves"])})


def _curves(content: Mapping[str, Iterable[tuple[float, float]]]) -> dict[str, list[tuple[int, float]]]:
    return {str(name): [(int(step), float(figure)) for step, figure in points] for name, points in content.items()}


class _Interrupts:
    """Whether Ctrl-C has come, or a method only raises what it raises."""

    def __init__(self) -> None:
        self.came = False
        signal.signal(signal.SIGINT, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.came = True
        raise KeyboardInterrupt


def quiet_streams(attached: bool) -> None:
    """
    Give a forked process streams of its own: what a method prints is no output of a command.

    Args:
        attached: Whether it shares the terminal, for a debugger.
    """
    nothing = os.open(os.devnull, os.O_RDWR)
    if not attached:
        for number in range(3):
            os.dup2(nothing, number)
    os.close(nothing)
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, "w" if number else "r", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115  # they live as long as the process
        for number in range(3)
    )
    sys.stdout.reconfigure(line_buffering=True)
