# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option with the items of a quality suite."""

from __future__ import annotations


class ModuleDocFragment:
    """What is asked and how it is judged; the specification is SUITE_OPTIONS in module_utils/_quality_suite.py."""

    DOCUMENTATION = r"""
options:
  suite:
    description: The items. Either this or O(suite_file).
    type: list
    elements: dict
    suboptions:
      id:
        description: Name of the item, used once.
        type: str
        required: true
      prompt:
        description: What to ask, as one user message. Either this or O(suite[].messages).
        type: str
      messages:
        description: What to ask, as several messages.
        type: list
        elements: dict
        suboptions:
          role:
            description: Who speaks.
            type: str
            choices: [system, user, assistant]
            required: true
          content:
            description: What is said.
            type: str
            required: true
      max_tokens:
        description: Longest answer.
        type: int
        default: 32
      check:
        description:
          - How the answer is judged. Without it O(suite[].expected) and O(suite[].pattern) do, and without those the
            recorded answer.
          - V(exact) wants O(suite[].expected), white space at both ends set aside.
          - V(regex) wants O(suite[].pattern) to be found.
          - V(json_schema) wants JSON that fits O(suite[].schema); a fenced block around it is taken off.
          - V(similarity) compares n-grams with O(suite[].expected), or with the recorded answer.
          - V(embedding) compares by the O(embedding) endpoint in the same way.
          - V(refusal) wants a refusal, or none with O(suite[].refuse=false).
          - V(any) wants no more than sanity. The answer has words, came to an end, and does not run away in repetition.
        type: str
        choices: [exact, regex, json_schema, similarity, embedding, refusal, any]
      expected:
        description:
          - Text that the answer must equal.
          - Without O(suite[].check) it may also resemble it by O(min_similarity).
        type: str
      pattern:
        description: Regular expression (Python) that must be found in the answer. With V(refusal), one that takes the
          place of the built-in English ones; it must match at the start. One that takes more than 5 seconds on an
          answer is an error of the item.
        type: str
      schema:
        description: JSON Schema with the keywords type, properties, required, additionalProperties, items, enum, const,
          pattern, minimum, maximum, minLength, maxLength, minItems, maxItems. Any other is refused.
        type: dict
      min_similarity:
        description: Smallest similarity that passes O(suite[].check=similarity) or V(embedding).
        type: float
      n:
        description: Length of the n-grams. Default is 3.
        type: int
      unit:
        description: What n-grams are made of. Default is V(character).
        type: str
        choices: [character, word]
      refuse:
        description: Whether a refusal is right. Default is true.
        type: bool
      finished:
        description: Whether the answer must come to its end before O(suite[].max_tokens).
        type: bool
        default: false
      latency_max_seconds:
        description: Longest time for the whole answer.
        type: float
      critical:
        description: Whether this item alone decides. Without it the suite is not passed, whatever the pass share is.
        type: bool
        default: false
      relative:
        description:
          - The item fails by its check only when the recorded answer passed it. For questions that a model need not be
            able to answer.
          - Within one origin its words are compared too, as those of an item without a check.
        type: bool
        default: false
      weight:
        description: How much it counts in RV(report.pass_share).
        type: float
        default: 1.0
"""
