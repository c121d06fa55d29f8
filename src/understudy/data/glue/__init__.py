"""GLUE: its nine tasks and the diagnostic set as rows, and the leaderboard's submission."""
