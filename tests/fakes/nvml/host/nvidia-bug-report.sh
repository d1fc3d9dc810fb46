#!/bin/sh
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# fake nvidia-bug-report.sh: writes nvidia-bug-report.log.gz, or the file after --output-file, with the scenario in it.
# Keys of the scenario: bug_report.seconds (how long it takes), bug_report.code (how it ends).
scenario=${FAKE_NVML_SCENARIO:-/etc/fake-nvml/scenario}
file=nvidia-bug-report.log
while [ $# -gt 0 ]; do
    case $1 in
    --output-file)
        file=$2
        shift
        ;;
    --safe-mode | --extra-system-data | --query) ;;
    --help | -h)
        echo "usage: nvidia-bug-report.sh [--output-file FILE] [--safe-mode] [--extra-system-data]"
        exit 0
        ;;
    *)
        echo "nvidia-bug-report.sh: unknown option '$1'" >&2
        exit 1
        ;;
    esac
    shift
done
seconds=$(sed -n 's/^bug_report.seconds //p' "$scenario")
code=$(sed -n 's/^bug_report.code //p' "$scenario")
echo "nvidia-bug-report.sh will now collect information about your system and create the file '$file.gz' (this is a fake)."
sleep "${seconds:-0}"
{
    echo "Start of NVIDIA bug report log file. This is a fake."
    cat "$scenario"
    echo "End of NVIDIA bug report log file."
} | gzip >"${file%.gz}.gz" || exit 1
echo " complete."
exit "${code:-0}"
