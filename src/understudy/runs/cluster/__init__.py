"""Work that is spread over the machines of a Ray cluster: runs of a family, parts of a pool."""
