"""What reaches the terminal: everything is printed here, so that no control character of a file gets there raw."""
