"""``understudy search``: the best small student that fits a budget."""
