"""``understudy compare``: several models under one configuration."""
