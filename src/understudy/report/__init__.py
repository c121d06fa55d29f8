"""What people read of a run: the table on the screen (tables), the plots (plots) and the model card (card).

All three read a plain dict, the parsed ``record.json``, so that a finished run can be shown again at any time.
"""
