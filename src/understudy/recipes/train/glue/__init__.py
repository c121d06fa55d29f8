"""``understudy glue``: one task of GLUE, all of them, or one after another."""
