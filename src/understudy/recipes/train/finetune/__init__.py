"""``understudy finetune``: a transformer, a linear layer on a frozen one, or TF-IDF."""
