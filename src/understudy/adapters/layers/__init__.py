"""What adapters compute: bottlenecks, invertible changes of the embeddings, and the fusion of several."""
