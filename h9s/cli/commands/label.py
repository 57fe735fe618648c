"""`howbectl label`."""

from __future__ import annotations

from h9s.cli.labelling import labelling_command

COMMAND = labelling_command(
    "label",
    field="labels",
    done="labeled",
    undone="unlabeled",
    help="""Set or remove labels.

    \b
    howbectl label pod/web tier=front
    howbectl label pods --all tier=front --overwrite
    howbectl label node n1 disk-
    """,
)
