"""What a comparison of several models shows: tables, a recommendation from stated rules, and pictures."""
