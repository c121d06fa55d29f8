"""One dataclass a command: its fields are the Python API, the flags and the YAML file; ``run()`` does the work."""
