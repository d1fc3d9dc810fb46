#!/usr/bin/env bash
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Build the collection, install it into an empty directory and look at what a user gets.
set -euo pipefail
# shellcheck source=tools/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_venv
copy=$BUILD/dist/src
target=$BUILD/dist/installed
rm -rf "$BUILD/dist"
mkdir -p "$copy" "$target"
checkout_files | tar -C "$ROOT" --null -T - -cf - | tar -C "$copy" -xf -
say "build"
ansible-galaxy collection build "$copy" --output-path "$BUILD/dist" --force
archive=$(find "$BUILD/dist" -maxdepth 1 -name 'local_llm-ops-*.tar.gz')
say "install into $target"
ANSIBLE_COLLECTIONS_PATH=$target ansible-galaxy collection install "$archive" --collections-path "$target" --offline

installed=$target/ansible_collections/local_llm/ops
unwanted=$(find "$installed" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort |
    grep -vxE 'CHANGELOG.md|COPYING|FILES.json|MANIFEST.json|README.md|changelogs|docs|inventories|meta|playbooks|plugins|roles' || true)
[ -z "$unwanted" ] || die "the archive holds what no user needs; add it to build_ignore in galaxy.yml: $(tr '\n' ' ' <<<"$unwanted")"
caches=$(find "$installed" -name '__pycache__' -o -name '*.pyc' | head -3)
[ -z "$caches" ] || die "the archive holds caches of Python: $caches"

shopt -s nullglob
for file in "$installed"/plugins/modules/*.py; do
    name=$(basename "$file" .py)
    ANSIBLE_COLLECTIONS_PATH=$target ansible-doc -t module "local_llm.ops.$name" >/dev/null ||
        die "the installed module local_llm.ops.$name has no documentation that ansible-doc can read"
done
for file in "$installed"/playbooks/*.yml; do
    name=$(basename "$file" .yml)
    ANSIBLE_COLLECTIONS_PATH=$target ansible-playbook --syntax-check -i localhost, "local_llm.ops.$name" >/dev/null ||
        die "the installed playbook local_llm.ops.$name does not pass a syntax check"
done
say "build: $archive ($(du -h "$archive" | cut -f1), $(tar -tzf "$archive" | wc -l) entries) installs and its modules and playbooks are found"
