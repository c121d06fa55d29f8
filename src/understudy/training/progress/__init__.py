"""Progress of a training: `progress.csv`, a bar on the terminal, trackers."""
