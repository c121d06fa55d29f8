"""Whatever answers for texts.

- ``teacher``: what a teacher is; one that runs a model at every call, and the average of several.
- ``cached``: the teacher cache, any model behind answers kept on disk; ``cache_files`` are its files.
- ``load``: a model by name, checked against the task; ``labels`` matches its outputs to the task's.
- ``file``: a file of answers.
- ``language``: a masked language model that reads each batch with the student.
- ``drawing``, ``drawn``: a masked language model that reads a corpus once; the words it draws are kept on disk.

The losses of distillation are :mod:`understudy.objectives.distill` and :mod:`understudy.objectives.distill_lm`.
"""
