"""The AWD-LSTM language model and classifier, and fast.ai's weights for it."""
