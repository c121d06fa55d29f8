"""Models: loading and saving any encoder, students of our own, and students cut from their teacher."""
