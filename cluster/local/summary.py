"""What a person is told at the end: what runs, where it is, what to try next. Pure."""

from __future__ import annotations

from cluster.local.bring_up import Running
from cluster.local.layout import REPLICA_IDS, Layout
from cluster.local.take_down import Stopped


def after_up(running: Running, *, is_default: bool) -> str:
    """After `scripts/up`. `is_default`: howbectl finds the configuration by itself."""
    layout, choice = running.cluster.layout, running.choice
    replicas = "  ".join(
        f"{one} {layout.api_address(one)}{' (leader)' if one == running.leader_id else ''}"
        for one in REPLICA_IDS
    )
    lines = [
        "",
        f"running on {choice.runtime} ({choice.reason}):",
        f"  apiservers   {replicas}",
        f"  workers      {'  '.join(running.cluster.node_names)}",
        *(
            f"  {answer.pod}  http://{answer.address} on {answer.node}: {answer.text}"
            for answer in running.answers
        ),
        f"  logs         {layout.log_dir}",
        "",
        "try next:",
    ]
    lines += [f"  {command}" for command in _suggestions(running, is_default=is_default)]
    return "\n".join(lines)


def _suggestions(running: Running, *, is_default: bool) -> list[str]:
    layout = running.cluster.layout
    programs = running.cluster.programs
    state = "" if is_default else f" --state-dir {layout.state_dir}"
    commands = [f'export PATH="{programs}:$PATH"']
    if not is_default:
        commands.append(f"export H9S_CONFIG={layout.admin_config}")
    commands.append("howbectl get pods -o wide")
    if running.answers:
        commands.append("howbectl scale deployment hello --replicas 5")
    commands += ["howbectl cluster status", f"scripts/demo-failover{state}", f"scripts/down{state}"]
    return commands


def after_down(stopped: Stopped, layout: Layout, *, wiped: bool) -> str:
    """After `scripts/down`."""
    parts = [f"stopped {' '.join(stopped.components)}" if stopped.components else "nothing ran"]
    if stopped.workers:
        parts.append(f"the pods of {' '.join(stopped.workers)} are gone")
    if wiped:
        parts.append(f"the state in {layout.state_dir} is removed")
    elif stopped.components:
        parts.append(f"the state in {layout.state_dir} is kept")
    return "; ".join(parts)
