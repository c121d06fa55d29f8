"""The files of the library AdapterHub, read and written."""
