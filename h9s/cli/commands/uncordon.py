"""`howbectl uncordon`."""

from __future__ import annotations

from h9s.cli.cordoning import cordoning_command

COMMAND = cordoning_command(
    "uncordon", unschedulable=False, done="uncordoned", help="Let new pods onto nodes again."
)
