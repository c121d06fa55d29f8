"""Pure functions without state or I/O: losses, schedules and metrics, each checked against its paper."""
