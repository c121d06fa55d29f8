"""Settings of the commands that bring models in and out."""
