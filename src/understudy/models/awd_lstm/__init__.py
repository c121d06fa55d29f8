"""The AWD-LSTM language model and classifier, and the import of fast.ai's weights."""
