"""A leaderboard as people read it: terminal, Markdown, CSV, JSON; and the progress of a run."""
