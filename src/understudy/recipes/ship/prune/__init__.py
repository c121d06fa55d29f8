"""``understudy prune``."""
