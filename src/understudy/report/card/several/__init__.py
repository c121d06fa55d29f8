"""Cards of several runs: of a family, of a comparison, of a search."""
