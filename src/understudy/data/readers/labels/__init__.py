"""Labels as people write them: cells, lists, one-hot columns, and what looks odd about them."""
