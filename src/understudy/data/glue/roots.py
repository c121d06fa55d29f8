"""Which tasks lie below a root folder. Nothing is read but names of folders and files."""

from __future__ import annotations

from pathlib import Path

from understudy.data.glue.tasks import GLUE, ONE_FILE, WITH_LABELS, GlueTask, folder_names, glue_task, simple_name


def task_folder(root: str, task: GlueTask) -> Path | None:
    """The folder of a task: below `root`, or `root` itself if it is called so; None if there is none."""
    return next(iter(task_folders(root, task)), None)


def task_folders(root: str, task: GlueTask) -> list[Path]:
    """All folders that may be a task's, of which there should be one; a link beside the folder that it leads to is no other."""
    path, known = Path(root).expanduser(), folder_names(task)
    if not path.is_dir():
        return []
    inside = [entry for entry in sorted(path.iterdir()) if entry.is_dir() and simple_name(entry.name) in known]
    if not inside and simple_name(path.resolve().name) in known:
        return [path]
    different: dict[Path, Path] = {}
    for entry in inside:
        different.setdefault(entry.resolve(), entry)
    return list(different.values())


def tasks_there(root: str) -> list[str]:
    """The names of the folders below `root`: those of GLUE's tasks by their own names."""
    path = Path(root).expanduser()
    if not path.is_dir():
        return []
    found = [(glue_task(entry.name), entry.name) for entry in sorted(path.iterdir()) if entry.is_dir()]
    return list(dict.fromkeys(task.name if task else name for task, name in found))


def diagnostic_files(root: str) -> list[Path]:
    """The files in the root itself that are called as those of the diagnostic set are."""
    path, known = Path(root).expanduser(), (*ONE_FILE, WITH_LABELS)
    there = sorted(path.iterdir()) if path.is_dir() else []
    return [entry for entry in there if entry.is_file() and simple_name(entry.name.partition(".")[0]) in known]


def places_read(root: str, name: str) -> list[str]:
    """What is read for a task: its folder, where there is one; otherwise the root itself. For MNLI the diagnostic set too."""
    task = glue_task(name)
    folder = Path(root).expanduser() / name if task is None else task_folder(root, task)
    if folder is None or not folder.is_dir():
        return [root]
    also = (task_folders(root, GLUE["ax"]) or diagnostic_files(root)) if task is GLUE["mnli"] else []
    return [str(place) for place in (folder, *also)]
