"""Weighbridge: one harness, shared benchmarks, one plugin a paper. These are the names that a plugin author imports."""

from harness.context import Budget, Run
from harness.errors import BenchError, DataError, PluginError, TrialDiverged, TrialUnsupported
from harness.hookspecs import hookimpl
from harness.specs import Artifact, Dataset, ListedPaper, Method, Metric, Paper, RawData, Search, Source, Task

__all__ = [
    "Artifact",
    "BenchError",
    "Budget",
    "DataError",
    "Dataset",
    "ListedPaper",
    "Method",
    "Metric",
    "Paper",
    "PluginError",
    "RawData",
    "Run",
    "Search",
    "Source",
    "Task",
    "TrialDiverged",
    "TrialUnsupported",
    "hookimpl",
]
