"""From a file of any format to Arrow record batches of strings."""
