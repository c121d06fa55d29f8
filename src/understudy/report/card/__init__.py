"""The model card of a run folder: what stands in it (facts, usage, front_matter, family) and the writing (write)."""
