"""Names of models, and reading and writing their folders."""
