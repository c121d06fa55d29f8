"""What is minimised.

- ``terms``: the contract of an objective with the loop.
- ``supervised``: labels.
- ``distill``, ``distill_lm``: the losses of distillation, for classifiers and for masked language models.
- ``language_model``, ``masked_lm``: the losses of language models, and their scores.
- ``teachers``: what distillation learns from, the teacher cache included.
"""
