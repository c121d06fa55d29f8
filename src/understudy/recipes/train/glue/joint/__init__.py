"""``understudy glue --mode joint``: several tasks at once, with teachers or without."""
