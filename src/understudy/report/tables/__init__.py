"""The tables that commands print on the terminal."""
