"""Settings of the commands that help to choose."""
