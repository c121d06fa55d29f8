"""What training says as it goes: `progress.csv`, a bar on the terminal, trackers."""
