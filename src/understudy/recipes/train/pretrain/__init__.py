"""``understudy pretrain``."""
