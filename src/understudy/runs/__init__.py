"""What every recipe stands on: the session of a run, fitting, plans, the record's entries."""
