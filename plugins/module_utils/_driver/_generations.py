# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Which generation a GPU is of, by its PCI device id: known before any driver is there. Pure.

Source: the names of chips in the PCI ID repository (https://pci-ids.ucw.cz, list of 2026-08-22). NVIDIA gives each chip
a range of ids of its own, so a card that the list does not know yet is told by its neighbours. Which of GH100 are of a
GH200: the names of device ids in NVIDIA's gpu-admin-tools (https://github.com/NVIDIA/gpu-admin-tools). They are a
generation of their own, since other modules serve them.
"""

from __future__ import annotations

UNKNOWN = "unknown"

# First and last id of each range, in order. Ids outside are not known: nothing is guessed from them.
RANGES = (
    (0x1340, 0x13FF, "maxwell"),  # GM108, GM107, GM204
    (0x1401, 0x143F, "maxwell"),  # GM206
    (0x15C2, 0x15FF, "pascal"),  # GP100
    (0x1613, 0x167F, "maxwell"),  # GM204
    (0x1725, 0x172F, "pascal"),  # GP100
    (0x174D, 0x174F, "maxwell"),  # GM108
    (0x1789, 0x179F, "maxwell"),  # GM107, GM108
    (0x17C2, 0x17FF, "maxwell"),  # GM200
    (0x1B00, 0x1D7F, "pascal"),  # GP102, GP104, GP106, GP107, GP108
    (0x1D81, 0x1DFF, "volta"),  # GV100
    (0x1E02, 0x1FFF, "turing"),  # TU102, TU104, TU106, TU117
    (0x2080, 0x20FF, "ampere"),  # GA100
    (0x2182, 0x21FF, "turing"),  # TU116
    (0x2200, 0x227F, "ampere"),  # GA102
    (0x2302, 0x2341, "hopper"),  # GH100
    (0x2342, 0x2348, "grace_hopper"),  # GH100 of the GH200, beside a Grace CPU
    (0x2349, 0x23FF, "hopper"),  # GH100
    (0x2414, 0x25FF, "ampere"),  # GA103, GA104, GA106, GA107
    (0x2681, 0x28FF, "ada"),  # AD102, AD103, AD104, AD106, AD107
    (0x2900, 0x2F7F, "blackwell"),  # GB100, GB102, GB202, GB203, GB205, GB206, GB207
    (0x3180, 0x33FF, "blackwell"),  # GB110, GB112, GB120
)
# GB100, GB102, GB110, GB112: cards whose switches are not NVIDIA devices on the PCI bus.
NVLINK5_RANGES = ((0x2900, 0x29FF), (0x3180, 0x33FF))


def generation_of(device_id: str) -> str:
    """Return the generation for a device id in hexadecimal, such as 2330; unknown for one that is in no range."""
    number = _number(device_id)
    return next((name for first, last, name in RANGES if number is not None and first <= number <= last), UNKNOWN)


def may_have_hidden_switches(device_id: str) -> bool:
    """Tell whether such a card may hang on NVSwitches that the PCI bus does not show as NVIDIA's."""
    number = _number(device_id)
    return number is not None and any(first <= number <= last for first, last in NVLINK5_RANGES)


def _number(device_id: str) -> int | None:
    try:
        return int(device_id, 16)
    except ValueError:
        return None
