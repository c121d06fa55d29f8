"""``understudy distill-lm``."""
