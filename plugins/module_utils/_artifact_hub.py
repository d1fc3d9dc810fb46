# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What a model hub has in a repository at a commit. The hub's protocol is left to huggingface_hub (controller only)."""

from __future__ import annotations

import hashlib
import importlib
import os
import traceback
from dataclasses import dataclass
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._artifact_http import Access, read_small
from ansible_collections.local_llm.ops.plugins.module_utils._artifact_rules import CONFIG_MAX_BYTES, ArtifactError

LIBRARY = "huggingface_hub"
DEFAULT_ENDPOINT = "https://huggingface.co"


@dataclass(frozen=True)
class Repository:
    """A repository at a commit. endpoint: the hub or a mirror of it."""

    repo: str
    revision: str
    endpoint: str

    def label(self) -> str:
        """Return it for messages."""
        return f"{self.repo} at {self.revision} on {self.endpoint}"


@dataclass(frozen=True)
class HubFile:
    """A file of a repository. sha256: as the hub tells it, for large files. git_oid: for small ones."""

    path: str
    size: int
    sha256: str | None
    git_oid: str


class LibraryMissing(Exception):
    """huggingface_hub is not there. The text is the traceback of the import."""


def _library(part: str = "") -> Any:
    """Return the library or a part of it; it is imported only when a hub is asked. No statistics, no update check."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_UPDATE_CHECK", "1")
    try:
        return importlib.import_module(f"{LIBRARY}{part}")
    except ImportError:
        raise LibraryMissing(traceback.format_exc()) from None


def file_url(where: Repository, path: str) -> str:
    """Return the address of a file; the hub redirects from there to where the bytes are."""
    return str(_library().hf_hub_url(where.repo, path, revision=where.revision, endpoint=where.endpoint))


def list_files(where: Repository, token: str | None) -> list[HubFile]:
    """Return the files of a repository at a commit."""
    hub, errors = _library(), _library(".errors")
    api = hub.HfApi(endpoint=where.endpoint, token=token or False, library_name="local_llm.ops")
    try:
        tree = list(api.list_repo_tree(where.repo, recursive=True, revision=where.revision))
    except errors.GatedRepoError:
        raise ArtifactError(
            f"{where.label()}: access is restricted. Accept its licence on the hub and give a token that may read it."
        ) from None
    except errors.RevisionNotFoundError:
        raise ArtifactError(f"{where.label()}: has no such commit. Check revision, or the mirror.") from None
    except errors.RepositoryNotFoundError:
        raise ArtifactError(
            f"{where.label()}: no such repository, or it needs a token. Check repo and endpoint, or give a token."
        ) from None
    except errors.HfHubHTTPError as error:
        status = getattr(getattr(error, "response", None), "status_code", "unknown")
        fix = "It needs a token that may read it." if status in (401, 403) else "Try later, or take a mirror."
        raise ArtifactError(f"{where.label()}: the hub answers with status {status}. {fix}") from None
    except Exception as error:  # noqa: BLE001 - the HTTP client below the library has errors of its own
        raise _unreadable(where, error) from None
    return [
        HubFile(item.path, item.size, item.lfs.sha256 if item.lfs is not None else None, item.blob_id)
        for item in tree
        if hasattr(item, "blob_id")
    ]


def _unreadable(where: Repository, error: Exception) -> ArtifactError:
    text = str(error).splitlines()[0] if str(error) else ""
    return ArtifactError(
        f"{where.label()}: the list of files cannot be read ({type(error).__name__}: {text}). Check endpoint, network "
        "and proxy; HF_HUB_OFFLINE must not be set."
    )


def read_file(where: Repository, file: HubFile, access: Access) -> bytes:
    """Return the content of a small file, held against what the hub's list says about it."""
    content = read_small(file_url(where, file.path), access, CONFIG_MAX_BYTES)
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
    if file.sha256 is None:
        right = file.git_oid in (blob.hexdigest(), hashlib.sha256(content).hexdigest())
    else:
        right = file.sha256 == hashlib.sha256(content).hexdigest()
    if not right:
        raise ArtifactError(
            f"{file.path}: {where.endpoint} gives other bytes than its own list of files says. Take another mirror."
        )
    return content
