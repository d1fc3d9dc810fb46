# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files of which Debian packages make an engine version."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._dpkg_tree import (
    copy_packages,
    engine_packages,
    parse_packages,
    place_of,
)
from ansible_collections.local_llm.ops.plugins.module_utils._published_tree import TreeError

QUERY = """\
ii \tllama.cpp-tools\t1:0.7.0+dfsg-2\tlibllama0 (= 1:0.7.0+dfsg-2), debconf, wget | curl, libggml0 (>= 0.27.0)
ii \tlibllama0\t1:0.7.0+dfsg-2\tlibc6 (>= 2.43), libggml0:amd64 (>= 0.27.0)
ii \tlibggml0\t0.27.0-1\tlibc6 (>= 2.43), libgomp1
ii \tlibggml0-backend-cuda\t0.27.0-1\tlibcuda1
rc \tlibmtmd0\t0.1\t
ii \tlibc6\t2.43-7\t
"""


def test_the_engine_is_its_package_its_own_libraries_and_the_backends() -> None:
    assert engine_packages("llama.cpp-tools", parse_packages(QUERY)) == {
        "llama.cpp-tools": "1:0.7.0+dfsg-2",
        "libllama0": "1:0.7.0+dfsg-2",
        "libggml0": "0.27.0-1",
        "libggml0-backend-cuda": "0.27.0-1",
    }


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/usr/bin/llama-server", "libexec/llama-server"),
        ("/usr/bin/other", ""),
        ("/usr/lib/x86_64-linux-gnu/libllama.so.0.7.0", "lib/libllama.so.0.7.0"),
        ("/usr/lib/x86_64-linux-gnu/llama/libllama-server-impl.so", "lib/libllama-server-impl.so"),
        ("/usr/lib/x86_64-linux-gnu/ggml/backends0/libggml-cpu-x64.so", "libexec/libggml-cpu-x64.so"),
        ("/usr/share/doc/libggml0/copyright", ""),
        ("/usr/lib/x86_64-linux-gnu/ggml", ""),
    ],
)
def test_programs_and_backends_lie_together_and_libraries_apart(path: str, place: str) -> None:
    assert place_of(path) == place


def test_another_version_of_the_package_is_refused_with_both_versions(tmp_path: Path) -> None:
    with pytest.raises(TreeError, match=r"llama\.cpp-tools: 1:0\.7\.0\+dfsg-2, wanted 1:0\.8\.0-1"):
        copy_packages(lambda command: (0, QUERY, ""), "llama.cpp-tools", "1:0.8.0-1", str(tmp_path))


def test_a_host_without_dpkg_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(TreeError, match="needs a Debian or Ubuntu host"):
        copy_packages(lambda command: (127, "", "not found"), "x", "1", str(tmp_path))
