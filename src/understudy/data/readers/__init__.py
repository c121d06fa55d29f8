"""Files, folders and hub data sets as the user names them in; checked rows and texts out."""
