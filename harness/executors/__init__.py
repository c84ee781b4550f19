"""Engines that run trials (Ray, or this process), and the few lines of scheduling that drive either."""
