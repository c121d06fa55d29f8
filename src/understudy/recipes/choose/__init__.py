"""The commands that help to choose."""
