"""What is minimised: objectives that give terms, and the teachers that some of them learn from."""
