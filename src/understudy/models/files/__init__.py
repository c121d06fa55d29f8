"""Names of models; reading and writing their folders."""
