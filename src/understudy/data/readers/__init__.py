"""From the files, folders and hub data sets that the user names to checked rows and texts."""
