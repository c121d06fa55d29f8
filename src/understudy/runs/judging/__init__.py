"""What models are held against: baselines, each other, and how sure they are of their answers."""
