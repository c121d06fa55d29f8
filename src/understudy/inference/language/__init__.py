"""What language models answer: words for gaps, and how a text goes on."""
