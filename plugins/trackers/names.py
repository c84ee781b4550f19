"""How trackers name what a record is about."""

from __future__ import annotations

from typing import Any

from harness.records import Record

__all__ = ["parameters_of", "run_name"]


def run_name(record: Record) -> str:
    """Return ``method on dataset, seed S (trial)``; the trial's name keeps variants of a method apart."""
    question = record.question

    return f"{question['method']['name']} on {question['dataset']['name']}, seed {question['seed']} ({record.trial})"


def parameters_of(record: Record) -> dict[str, Any]:  # Any: whatever JSON holds
    """Return names and parameters of task, data set and method, budget and seed, flat: ``method.q``."""
    question = record.question
    flat: dict[str, Any] = {"seed": question["seed"], **{f"budget.{name}": value for name, value in question["budget"].items()}}
    for kind in ("task", "dataset", "method"):
        flat[kind] = question[kind]["name"]
        flat |= {f"{kind}.{name}": value for name, value in question[kind]["parameters"].items()}

    return flat
