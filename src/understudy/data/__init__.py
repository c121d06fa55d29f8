"""From texts and labels to planned batches of token ids. Reading needs no torch."""
