"""From texts to token ids: tokenizers, vocabularies, and encodings that are made once and kept."""
