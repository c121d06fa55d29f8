"""What a search says: its table and its sentences, made from its record alone."""
