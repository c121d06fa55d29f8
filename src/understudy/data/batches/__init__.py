"""Which rows make an optimizer step: bucketed by length, in blocks, as streams, masked or packed."""
