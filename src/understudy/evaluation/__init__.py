"""What a model is worth (``quality``, ``intervals``, ``words``) and what it costs (``cost``).

The formulas of accuracy, F1 and the other metrics are in ``understudy.functional.metrics``.
"""
