"""Data sets of the task ``quantile_regression``: real tables with a numeric response, and one synthetic set whose quantiles are known."""
