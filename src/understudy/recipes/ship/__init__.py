"""The commands that bring models in and out."""
