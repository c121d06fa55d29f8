"""The model card: ``README.md`` of a run folder, with everything needed to judge the model and to make it again."""
