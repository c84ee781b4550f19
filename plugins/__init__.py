"""The bundled plugins: one folder a paper, and the shared baselines, data sets and metrics."""
