"""What people read about a run: the tables on the terminal (tables), the plots (plots) and the model card (card).

All of them read a plain dict, the parsed ``record.json``, so that a finished run can be shown again at any time.
"""
