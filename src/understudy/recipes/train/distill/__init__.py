"""``understudy distill``."""
