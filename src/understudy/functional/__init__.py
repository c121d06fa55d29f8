"""Pure functions without state or I/O: losses, schedules and metrics, each to be checked against its paper."""
