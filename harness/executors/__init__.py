"""Engines that run trials (processes forked here, or Ray), and the scheduling that drives either."""
