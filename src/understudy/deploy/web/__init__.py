"""A trained model as a page: a folder that any static server can host, and that answers on the visitor's device."""
