"""The one training loop and what it stands on.

``loop`` calls a ``trainer`` for each step, in ``stages``; ``schedules`` say how the learning rate changes, ``unfreezing``
which layers learn when. ``checkpoint_files`` holds what a resumed run goes on from.
"""
