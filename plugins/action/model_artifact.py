# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Serve the controller's model cache to a host that fetches from it.

What runs on the controller itself shows its progress, and runs once for all hosts that want the same.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.local_llm.ops.plugins.plugin_utils._artifact_doubt import doubt
from ansible_collections.local_llm.ops.plugins.plugin_utils._artifact_turns import one_for_all
from ansible_collections.local_llm.ops.plugins.plugin_utils._plain import plain
from ansible_collections.local_llm.ops.plugins.plugin_utils._progress_watch import watched
from ansible_collections.local_llm.ops.plugins.plugin_utils._share import ShareError, own_address, shared


class ActionModule(ActionBase):
    """Everything else happens in the module."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        asked = plain(arguments)
        if plain(arguments.get("source")) == "controller":
            arguments.update(self._share(arguments, task_vars or {}))

        def ask() -> dict[str, Any]:
            with self._progress(arguments):
                answer: dict[str, Any] = self._execute_module(
                    module_name="local_llm.ops.model_artifact", module_args=arguments, task_vars=task_vars
                )
            return answer

        here = self._connection.transport == "local" and not self._play_context.become
        alone = here and not self._task.check_mode
        result.update(one_for_all(plain(arguments), ask) if alone else ask())
        if not self._task.check_mode:
            doubt(asked, result)
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
            with watched(path):
                yield
