# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of llm_benchmark that say how strong the load is, what is sent, and what is watched beside it."""

from __future__ import annotations


class ModuleDocFragment:
    """Found by its name local_llm.ops.llm_load."""

    DOCUMENTATION = r"""
options:
  load:
    description:
      - A load in stages. Give at most one of O(load), O(sweep), O(search) and O(scenario); without any of them O(users)
        send O(requests) in a closed loop.
    type: dict
    suboptions:
      mode:
        description:
          - V(closed) is a number of users, each with one request at a time. V(open) is a rate of requests that come
            whether or not earlier ones were answered; latency then counts from when a request was due.
        type: str
        choices: [closed, open]
        required: true
      stages:
        description: One after the other, without a gap. A stage ends at its requests or its seconds, whichever comes
          first.
        type: list
        elements: dict
        required: true
        suboptions:
          users:
            description: Users, in a closed loop.
            type: int
          rate_per_second:
            description: Requests per second, in an open loop.
            type: float
          requests:
            description: Requests of the stage.
            type: int
          seconds:
            description: Length of the stage.
            type: float
          arrivals:
            description: Whether requests of an open loop come evenly, or at random as independent users send them.
            type: str
            choices: [constant, poisson]
            default: poisson
  sweep:
    description:
      - The same load at several strengths, from the smallest up, one stage for each. With five or more of them the
        report tells the knee, from which on throughput hardly follows the load.
    type: dict
    suboptions:
      users:
        description: Numbers of users. Give this or O(sweep.rates).
        type: list
        elements: int
      rates:
        description: Requests per second.
        type: list
        elements: float
      requests:
        description: Requests of each stage. O(requests), when O(sweep.seconds) is left out, too.
        type: int
      seconds:
        description: Length of each stage.
        type: float
      arrivals:
        description: Whether requests of an open loop come evenly or at random.
        type: str
        choices: [constant, poisson]
        default: poisson
  search:
    description:
      - Look for the highest rate at which O(slo) (or O(slo_tier)) is kept, which is goodput. The rate is doubled until
        the limits break, bisected, and the answer is measured again.
    type: dict
    suboptions:
      start_rate:
        description: Requests per second to begin with.
        type: float
        default: 1.0
      max_rate:
        description: Requests per second to stop at.
        type: float
        default: 64.0
      requests:
        description: Requests of one probe. As many as a verdict needs, and at least 100, when left out.
        type: int
      resolution:
        description: How close the answer is to the lowest rate that broke the limits, as a factor.
        type: float
        default: 1.1
      confirmations:
        description: How often the answer is measured again; all of it together must keep the limits.
        type: int
        default: 3
      arrivals:
        description: Whether requests come evenly or at random.
        type: str
        choices: [constant, poisson]
        default: poisson
  scenario:
    description:
      - Name of a load that the collection brings, which is V(baseline) (10 users, 5 minutes), V(peak) (50 users, 10
        minutes), V(sustained) (30 users, 1 hour), V(spike) (10, 100 and 10 users, 15 minutes) or V(soak) (30 users, 8
        hours).
      - The controller turns it into O(load), so it works in a task, not where the module is called in another way.
    type: str
  time_scale:
    description: Factor for every length of O(scenario). V(0.002) rehearses the soak in a minute.
    type: float
    default: 1.0
  shape:
    description:
      - V(synthetic) sends prompts that have nothing in common. V(shared_prefix) puts the same O(prefix_tokens) before
        those of a group. V(multi_turn) sends conversations of O(turns) requests, each with the history before it.
    type: str
    choices: [synthetic, shared_prefix, multi_turn]
    default: synthetic
  prefix_tokens:
    description: Words that prompts of a group begin with, for O(shape=shared_prefix).
    type: int
    default: 256
  prefix_groups:
    description: Number of such groups.
    type: int
    default: 1
  turns:
    description: Requests of a conversation, for O(shape=multi_turn).
    type: int
    default: 4
  prompts_path:
    description:
      - File of prompts on the controller, one JSON value per line. A string, or an object with C(prompt) or C(messages)
        and, when wanted, C(output_tokens). They are sent in turn, in place of prompts made from O(seed).
      - The file is checked on the controller before anything is sent, and removed from the host after the run.
    type: path
  slo:
    description: What one request must keep to count as good. In an open loop time counts from when it was due.
    type: dict
    suboptions:
      ttft_seconds:
        description: Longest time to first token.
        type: float
      tpot_seconds:
        description: Longest time per output token.
        type: float
      e2el_seconds:
        description: Longest time of a whole answer.
        type: float
      attainment:
        description: Share of all issued requests that must be good, for O(search).
        type: float
        default: 0.95
  slo_tier:
    description: Name of a tier whose p95 limits become O(slo) where it leaves them out. Resolved on the controller.
    type: str
  slo_tiers:
    description: Tiers of your own, as in C(local_llm_slo_tiers).
    type: dict
    default: {}
  engine:
    description:
      - Engine behind O(url). Its own counters are read before and after and held against what was measured. Ollama has
        none.
    type: str
    choices: [llamacpp, ollama, vllm]
  engine_url:
    description: Address of the engine's own pages, where it differs from O(url), for instance behind a gateway.
    type: str
  instance:
    description:
      - Name of the instance, when the module runs on its host. The memory of its service is sampled, and a restart
        during the run is noticed.
    type: str
  gpu_telemetry:
    description: Sample power, temperature, clock and memory of NVIDIA GPUs, where the host has them.
    type: bool
    default: true
  cold_start:
    description: Measure before the load how long the service needs to answer. Its requests are in no other figure.
    type: dict
    suboptions:
      restart:
        description:
          - Restart the service of O(instance), and take the time to the open port, to ready and to the first token.
          - This ends what it is answering; V(true) is your consent.
        type: bool
        default: false
      idle_seconds:
        description: Send nothing for so long, then take the time of one request and of the next. V(0) leaves it out.
        type: float
        default: 0.0
      ready_timeout_seconds:
        description: Longest wait for the service after the restart.
        type: float
        default: 300.0
  start_at_unix_seconds:
    description: Begin to measure at this time of the host's clock, so that several load generators begin together.
    type: float
  samples_path:
    description:
      - File to write one line for each request to, as compressed JSON lines (mode 0640), without any text. It is what
        reports of several load generators are made from.
    type: path
  progress_path:
    description:
      - File that tells how far the run is. Tasks show it on the controller by themselves, so this is for other callers.
    type: path
  client:
    description:
      - What sends the requests. V(vllm_bench) is C(vllm bench serve), V(guidellm) is C(guidellm run), V(aiperf) is
        C(aiperf profile). A tool is used only when it is named here, and installed by you. Its version is asked and is
        part of C(engine_version_tool).
      - The tools do one stage of synthetic prompts that ends with its requests, against an OpenAI API. What one of them
        cannot do is refused by the name of the option. None can do O(sweep), O(search), O(scenario), O(prompts_path),
        O(cold_start), O(ca_path), or O(validate_certs=false); V(vllm_bench) cannot do constant arrivals.
      - The warm-up is sent by the own client, with prompts of its own.
      - The key goes to a tool in its environment, never on its command line.
      - V(vllm_bench) has no time limit for one request; O(request_timeout_seconds) means nothing to it.
    type: str
    choices: [builtin, vllm_bench, guidellm, aiperf]
    default: builtin
  client_command:
    description: Path of the program of O(client) on the host that sends, for instance V(/opt/guidellm/bin/guidellm).
    type: path
  client_tokenizer:
    description: Directory with the tokenizer of the model on the host that sends. The tools make their prompts with it.
    type: path
"""
