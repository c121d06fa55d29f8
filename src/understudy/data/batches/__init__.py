"""Which rows make an optimizer step: bucketed by length, blocks, streams, masked."""
