"""One file per task: its data containers, its protocol and its metrics. The core reaches a task only through the registry."""
