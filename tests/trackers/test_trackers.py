"""Trackers get what the records say, and only when they are asked to."""

from __future__ import annotations

import json
import sqlite3

import pytest

SUITE = "task: toy\nbudget: {steps: 3}\nseeds: 2\ndatasets: [numbers]\nmethods: [numeric, raising]\n"


def run(bench, toy, **variables):
    return bench("run", bench.suite(SUITE), "--plugin", toy, "--executor", "inline", **variables)


def figure(folder, method, seed):
    """Return what the record says."""
    lines = (folder / "results" / "suite" / "records.jsonl").read_text().splitlines()
    records = [record for record in map(json.loads, lines) if "metrics" in record]

    return next(
        record["metrics"]["closeness"]
        for record in records
        if record["question"]["method"]["name"] == method and record["question"]["seed"] == seed
    )


def test_tensorboard_gets_figures_curves_and_parameters(bench, toy, tmp_path):
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

    done = run(bench, toy, BENCH_TENSORBOARD=str(tmp_path / "runs"))

    folders = sorted(path for path in (tmp_path / "runs" / "suite").iterdir() if path.name.startswith("numeric on numbers, seed 0 ("))
    assert done.returncode == 1, done.stderr  # one method fails by design
    assert len(folders) == 1
    events = accumulators.EventAccumulator(str(folders[0])).Reload()
    assert [(point.step, point.value) for point in events.Scalars("loss")] == [(1, 0.5)]
    assert events.Scalars("final/closeness")[0].value == pytest.approx(figure(tmp_path, "numeric", 0))
    assert b'"status": "ok"' in events.Tensors("trial")[0].tensor_proto.string_val[0]


def test_a_trial_that_runs_again_replaces_its_events(bench, toy, tmp_path):
    pytest.importorskip("tensorboard")
    run(bench, toy, BENCH_TENSORBOARD=str(tmp_path / "runs"))

    bench("run", "suite.yaml", "--plugin", toy, "--executor", "inline", "--retry", BENCH_TENSORBOARD=str(tmp_path / "runs"))

    for folder in (tmp_path / "runs" / "suite").iterdir():
        assert len(list(folder.glob("events.*"))) == 1


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")  # of MLflow's own queries
def test_mlflow_gets_runs_with_parameters_figures_and_status(bench, toy, tmp_path):
    pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    done = run(bench, toy, BENCH_MLFLOW=f"sqlite:///{tmp_path}/mlflow.db")

    assert "observer" not in done.stdout + done.stderr
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("suite").experiment_id])
    assert len(runs) == 4
    by_status = {entry.data.tags["status"]: entry for entry in runs}
    assert by_status["failed"].info.status == "FAILED"
    assert "Traceback" in by_status["failed"].data.tags["error"]
    assert by_status["ok"].info.status == "FINISHED"
    assert by_status["ok"].data.params["method"] == "numeric"
    assert by_status["ok"].data.params["budget.steps"] == "3"
    assert by_status["ok"].data.metrics["cost/wall_seconds"] > 0
    assert by_status["ok"].data.metrics["closeness"] in (figure(tmp_path, "numeric", 0), figure(tmp_path, "numeric", 1))


def test_without_their_variables_they_are_silent(bench, toy, tmp_path):
    done = run(bench, toy)

    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "mlflow.db").exists()
    assert sqlite3.connect(tmp_path / "results" / "bench.db").execute("select count(*) from records").fetchone() == (4,)
    assert "observer" not in done.stdout
