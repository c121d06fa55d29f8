"""Run folders: whose they are, and who may write."""
