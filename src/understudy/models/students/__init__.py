"""Small models to be taught: the BiLSTM, the bag of embeddings, the pooled encoder."""
