# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module script_library, with real files in a temporary directory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.local_llm.ops.plugins.modules import script_library

FILES = {"_one.py": "ONE = 1\n", "part/__init__.py": ""}


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Any:
    def run(check: bool = False, files: dict[str, str] | None = None) -> dict[str, Any]:
        args = {"directory": str(tmp_path / "lib/a"), "files": FILES if files is None else files}
        with patch_module_args({**args, "_ansible_check_mode": check}), pytest.raises(SystemExit):
            script_library.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return run


def there(tmp_path: Path) -> dict[str, str]:
    root = tmp_path / "lib/a"
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def test_all_files_come_with_their_directories_and_a_second_run_changes_nothing(call: Any, tmp_path: Path) -> None:
    first = call()
    assert (first["changed"], first["written"], first["removed"]) == (True, ["_one.py", "part/__init__.py"], [])
    assert there(tmp_path) == FILES
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "lib").rglob("*")} == {0o755, 0o644}
    second = call()
    assert (second["changed"], second["written"], second["diff"]["after"]) == (False, [], {})


def test_check_mode_tells_the_same_and_touches_nothing(call: Any, tmp_path: Path) -> None:
    predicted = call(check=True)
    assert not (tmp_path / "lib").exists()
    assert predicted["written"] == call()["written"]
    assert not call(check=True)["changed"]


@pytest.mark.parametrize("harm", ["text", "mode", "link"])
def test_what_was_changed_by_hand_is_put_right(call: Any, tmp_path: Path, harm: str) -> None:
    call()
    path = tmp_path / "lib/a/_one.py"
    if harm == "text":
        path.write_text("ONE = 2\n")
    elif harm == "mode":
        path.chmod(0o666)
    else:
        path.unlink()
        path.symlink_to("/dev/null")
    again = call()
    assert again["written"] == ["_one.py"] and list(again["diff"]["before"]) == ["_one.py"]
    assert there(tmp_path) == FILES and not path.is_symlink()
    assert not call()["changed"]


def test_a_file_that_the_script_no_longer_imports_goes_and_byte_code_stays(call: Any, tmp_path: Path) -> None:
    call()
    code = tmp_path / "lib/a/__pycache__/_one.cpython-311.pyc"
    code.parent.mkdir()
    code.write_bytes(b"code")
    again = call(files={"_one.py": FILES["_one.py"]})
    assert (again["written"], again["removed"]) == ([], ["part/__init__.py"])
    assert code.exists() and not (tmp_path / "lib/a/part/__init__.py").exists()


@pytest.mark.parametrize("path", ["../x.py", "/x.py", "a/../../x.py", "x.txt", "./x.py"])
def test_a_path_that_leaves_the_directory_or_is_no_python_is_refused_by_name(
    call: Any, tmp_path: Path, path: str
) -> None:
    refused = call(files={path: ""})
    assert refused["failed"] and path in refused["msg"]
    assert not (tmp_path / "lib").exists()
