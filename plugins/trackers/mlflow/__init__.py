"""
Sends each new record to MLflow: ``BENCH_MLFLOW=sqlite:///mlflow.db bench run noisy_labels``, then ``mlflow ui --backend-store-uri sqlite:///mlflow.db``.

The variable is a tracking address of MLflow. An experiment is a suite, a run is a trial: parameters, figures, curves, status, costs, and the trial's name
and key as tags.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from datetime import datetime

from harness import hookimpl
from plugins.trackers.names import parameters_of, run_name

VARIABLE = "BENCH_MLFLOW"


@hookimpl
def bench_trial_finished(suite, record):
    """
    Log the record as a run that has ended.

    Raises:
        ImportError: The variable is set and MLflow is not installed (``weighbridge[trackers]``).
    """
    address = os.environ.get(VARIABLE)
    if not address:
        return
    from mlflow.entities import Metric, Param, RunTag
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=address)
    experiment = client.get_experiment_by_name(suite)
    identifier = client.create_experiment(suite) if experiment is None else experiment.experiment_id
    began = int(datetime.fromisoformat(record.started).timestamp() * 1000)
    run = client.create_run(identifier, start_time=began, run_name=run_name(record)).info.run_id

    costs = {} if record.costs is None else {f"cost/{name}": value for name, value in asdict(record.costs).items()}
    finals = {**record.metrics, **costs}
    metrics = [Metric(name, float(value), began, 0) for name, value in finals.items() if value is not None]
    # A curve may have the name of a metric; MLflow would draw both as one.
    metrics += [Metric(f"curve/{name}", value, began, step) for name, points in record.curves.items() for step, value in points]
    tags = {"trial": record.trial, "key": record.key, "status": record.status, "error": record.error or ""}
    client.log_batch(
        run,
        metrics[:MOST_METRICS],
        [Param(name, str(value)) for name, value in parameters_of(record).items()],
        [RunTag(name, value[:MOST_TEXT]) for name, value in tags.items() if value],
    )
    for start in range(MOST_METRICS, len(metrics), MOST_METRICS):
        client.log_batch(run, metrics[start : start + MOST_METRICS])
    seconds = 0.0 if record.costs is None else record.costs.wall_seconds
    client.set_terminated(run, "FINISHED" if record.status == "ok" else "FAILED", began + int(seconds * 1000))


MOST_METRICS = 800  # of one call: MLflow takes 1,000 items, parameters and tags included
MOST_TEXT = 5000  # of a tag
