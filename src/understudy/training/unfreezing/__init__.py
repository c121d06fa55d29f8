"""ULMFiT's gradual unfreezing: which layers learn, when, and at which rates."""
