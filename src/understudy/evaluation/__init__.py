"""What a model is worth (``quality``, ``intervals``, ``words``) and what it costs (``cost``)."""
