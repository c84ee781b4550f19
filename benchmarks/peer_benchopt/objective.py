"""The trivial task of ``trivial_plugin.py`` in benchopt's words: an objective that reads the answer."""

from benchopt import BaseObjective


class Objective(BaseObjective):
    """Return the solver's answer as the figure."""

    name = "trivial"
    sampling_strategy = "run_once"

    def set_data(self, variant):
        """Take the data."""
        self.variant = variant

    def get_objective(self):
        """Give the solver what it may see."""
        return {"variant": self.variant}

    def evaluate_result(self, answer):
        """Return the one figure."""
        return {"value": answer}

    def get_one_result(self):
        """Return an answer for benchopt's own checks."""
        return {"answer": 0.0}
