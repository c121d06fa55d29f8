"""Training as the settings ask for it: rates by layer, stages, a rate found by a sweep, a phase of training."""
