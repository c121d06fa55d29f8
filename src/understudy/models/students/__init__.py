"""Small models to be taught: BiLSTM, bag of embeddings, pooled encoder."""
