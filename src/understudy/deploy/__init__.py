"""Models as they are shipped: exported."""
