"""A solver that does nothing, in eight variants."""

import numpy as np
from benchopt import BaseSolver


class Solver(BaseSolver):
    """Answer with a constant and some noise of the repetition's seed."""

    name = "constant"
    parameters = {"level": [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]}  # noqa: RUF012  # benchopt reads it from the class

    def set_objective(self, variant):
        """Take what the objective gives."""
        self.variant = variant

    def run(self, _):
        """Answer once."""
        rng = np.random.default_rng(self.get_seed(use_repetition=True))
        self.answer = self.level + self.variant + rng.standard_normal()

    def get_result(self):
        """Return the answer."""
        return {"answer": self.answer}
