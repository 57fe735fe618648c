"""`howbectl cordon`."""

from __future__ import annotations

from h9s.cli.cordoning import cordoning_command

COMMAND = cordoning_command(
    "cordon", unschedulable=True, done="cordoned", help="Keep new pods off nodes; those that are there stay."
)
