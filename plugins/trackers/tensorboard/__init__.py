"""
Writes each new record for TensorBoard: ``BENCH_TENSORBOARD=runs bench run noisy_labels``, then ``tensorboard --logdir runs``.

One folder a trial below ``<folder>/<suite>``: its curves by step, its figures under ``final/``, and what it was asked as text.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from harness import hookimpl
from plugins.trackers.names import parameters_of, run_name

VARIABLE = "BENCH_TENSORBOARD"


@hookimpl
def bench_trial_finished(suite, record):
    """
    Write the record's events.

    Raises:
        ImportError: The variable is set and tensorboard is not installed (``weighbridge[trackers]``).
    """
    folder = os.environ.get(VARIABLE)
    if not folder:
        return
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.plugins.text.metadata import create_summary_metadata
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    place = Path(folder) / suite / run_name(record)
    for old in place.glob("events.*"):
        old.unlink()  # the trial ran again: two files would be drawn as one curve
    writer = EventFileWriter(str(place))
    for name, points in record.curves.items():
        for step, value in points:
            writer.add_event(Event(step=step, summary=Summary(value=[Summary.Value(tag=name, simple_value=value)])))
    for name, value in record.metrics.items():
        if value is not None:
            writer.add_event(Event(step=0, summary=Summary(value=[Summary.Value(tag=f"final/{name}", simple_value=value)])))
    text = json.dumps({"status": record.status, **parameters_of(record)}, indent=1)
    tensor = TensorProto(dtype="DT_STRING", string_val=[text.encode()])
    asked = Summary.Value(tag="trial", metadata=create_summary_metadata("trial", ""), tensor=tensor)
    writer.add_event(Event(step=0, summary=Summary(value=[asked])))
    writer.close()
