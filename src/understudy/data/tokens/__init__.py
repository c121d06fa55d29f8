"""Texts to token ids: tokenizers, vocabularies, and what is encoded once and kept."""
