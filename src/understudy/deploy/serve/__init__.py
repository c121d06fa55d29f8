"""Models behind HTTP. Nothing here needs torch: the small runtime shares these modules."""
