"""Whatever answers for texts: a model behind a cache, a file of answers, a language model."""
