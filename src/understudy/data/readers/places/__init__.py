"""Where rows are: in files, folders, archives, hub data sets, or in Python."""
