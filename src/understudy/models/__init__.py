"""Models: loading and saving any encoder, our own students, and students cut from their teacher."""
