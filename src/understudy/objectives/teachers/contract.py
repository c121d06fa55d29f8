"""The names that the recipe still imports from here; each is defined in the module of its own."""

from understudy.objectives.teachers.cached import CachedTeacher
from understudy.objectives.teachers.file import FileTeacher
from understudy.objectives.teachers.labels import match_labels
from understudy.objectives.teachers.teacher import AveragedTeacher, OnlineTeacher, Teacher

__all__ = ["AveragedTeacher", "CachedTeacher", "FileTeacher", "OnlineTeacher", "Teacher", "match_labels"]
