"""Figures that single commands draw, beside those of every run."""
