"""Settings of the commands that train."""
