"""Attention heads and feed-forward neurons: what they are worth, and models without some of them."""
