"""Files on their way to the hub. No token is ever shown."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
from huggingface_hub.utils import disable_progress_bars

from understudy.deploy.hub.contents import PushedFile
from understudy.errors import ConfigError, OutputError

_HTTP_ERROR: Any = HfHubHTTPError.__bases__[0]
"""What the library that huggingface_hub speaks HTTP with raises; which library that is depends on its version."""
_LOGIN = "Make one that may write at https://huggingface.co/settings/tokens, then run `hf auth login`, or set HF_TOKEN."


def token_of(variable: str | None) -> str:
    """The token to push with: that of an environment variable, else what ``huggingface_hub`` knows.

    Raises:
        ConfigError: if there is none.
    """
    if variable is not None:
        token = os.environ.get(variable, "").strip()
        if not token:
            raise ConfigError(f"--token names the environment variable {variable}, which is not set. {_LOGIN}")
        return token
    found = get_token()
    if not found:
        raise ConfigError(f"no token: the hub wants to know who pushes. {_LOGIN}")
    return found


def send(files: Sequence[PushedFile], *, repository: str, token: str, private: bool) -> str:
    """Make the repository if it is not there, and commit files to it, all at once; the address of the repository.

    Args:
        repository: ``user/name``.
        private: whether a new repository is private; one that exists stays as it is.

    Raises:
        OutputError: if the hub cannot be reached, or refuses.
    """
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"), token=token)
    disable_progress_bars()
    try:
        address = str(api.create_repo(repository, private=private or None, exist_ok=True))
        api.create_commit(
            repository,
            [
                CommitOperationAdd(one.name, str(one.source) if isinstance(one.source, Path) else one.source)
                for one in files
            ],
            commit_message="Model pushed with understudy",
        )
    except OfflineModeIsEnabled:
        raise OutputError(
            f"{repository}: cannot be pushed, because HF_HUB_OFFLINE is set, which forbids the network. Unset it."
        ) from None
    except HfHubHTTPError as error:
        raise OutputError(f"{repository}: {_refused(error)}") from None
    except (_HTTP_ERROR, HFValidationError, RuntimeError, ValueError, OSError) as error:
        told = " ".join(str(error).split()).replace(token, "…")[:200]
        raise OutputError(
            f"{repository}: cannot be pushed, because the hub ({api.endpoint}) does not answer as it should ({told}). Is there a network? Nothing was committed; run the command again."
        ) from None
    return address


def _refused(error: HfHubHTTPError) -> str:
    """Why the hub refused, and what to do."""
    status = error.response.status_code if error.response is not None else 0
    if status == 401:
        return f"the hub does not know the token. {_LOGIN}"
    if status == 403:
        return "the token may not write there. Take one with the right to write, or name a repository of your own with --to."
    if status == 404:
        return "the hub knows no such user or organisation, or does not show it to this token. Check --to."
    said = " ".join(str(getattr(error, "server_message", None) or "").split())[:200]
    return f"the hub refuses (status {status}{f': {said}' if said else ''}). Nothing was committed; try again later."
