# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Serve the controller's model cache to a host that fetches from it, and show the progress of tasks that run here."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.local_llm.ops.plugins.module_utils._artifact_progress import progress_line
from ansible_collections.local_llm.ops.plugins.plugin_utils._plain import plain
from ansible_collections.local_llm.ops.plugins.plugin_utils._share import ShareError, own_address, shared

_LOOK_SECONDS = 1.0
_SHOW_SECONDS = 10.0


class ActionModule(ActionBase):
    """Everything else happens in the module."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        if plain(arguments.get("source")) == "controller":
            arguments.update(self._share(arguments, task_vars or {}))
        with self._progress(arguments):
            done = self._execute_module(
                module_name="local_llm.ops.model_artifact", module_args=arguments, task_vars=task_vars
            )
        result.update(done)
        return result

    def _share(self, arguments: Mapping[str, Any], task_vars: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options with which the module fetches from this controller."""
        cache = plain(arguments.get("controller_directory"))
        if not cache or plain(arguments.get("state")) != "fetched":
            raise AnsibleActionFail(
                "model_artifact: source controller needs state: fetched and controller_directory, the cache."
            )
        host = str(self._play_context.remote_addr or task_vars.get("inventory_hostname"))
        try:
            address = str(plain(arguments.get("controller_address")) or own_address(host))
            rate = int(plain(arguments.get("controller_bytes_per_second")) or 0)
            # This is a worker; the process above it is the play, and the server lives as long as that.
            share = shared(os.path.expanduser(str(cache)), address, rate, os.getppid())
        except ShareError as error:
            raise AnsibleActionFail(f"model_artifact: {error}") from error
        return {
            "source": "http",
            "url": share.url,
            "url_layout": "sha256",
            "token": share.token,
            "use_proxy": False,
        }

    @contextlib.contextmanager
    def _progress(self, arguments: dict[str, Any]) -> Iterator[None]:
        """Show the progress of a module that runs on the controller, while it runs."""
        if self._connection.transport != "local" or arguments.get("progress_path"):
            yield
            return
        with tempfile.TemporaryDirectory(prefix="local_llm_progress_") as directory:
            path = Path(directory) / "progress.json"
            arguments["progress_path"] = str(path)
            end = threading.Event()
            watcher = threading.Thread(target=_show, args=(path, end), daemon=True)
            watcher.start()
            try:
                yield
            finally:
                end.set()
                watcher.join(timeout=5)


def _show(path: Path, end: threading.Event) -> None:
    """Show a line now and then, as long as the counts change."""
    shown_at, last = 0.0, ""
    while not end.wait(_LOOK_SECONDS):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            state = json.loads(path.read_text(encoding="utf-8"))
            if state["seconds"] - shown_at >= _SHOW_SECONDS and state["bytes_done"] != last:
                shown_at, last = state["seconds"], state["bytes_done"]
                Display().display(progress_line(state))
