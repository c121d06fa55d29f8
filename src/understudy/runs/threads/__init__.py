"""How many processor threads a run uses, and for what: given, measured, or as it was begun."""
