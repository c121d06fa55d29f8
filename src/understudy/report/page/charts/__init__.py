"""Charts as inline SVG: each value is a point that pointer and keyboard reach, and each chart has its table of values."""
