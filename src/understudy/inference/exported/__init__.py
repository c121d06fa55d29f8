"""Exported models: a folder that answers without torch. The small runtime shares these modules."""
