"""`howbectl annotate`."""

from __future__ import annotations

from h9s.cli.labelling import labelling_command

COMMAND = labelling_command(
    "annotate",
    field="annotations",
    done="annotated",
    undone="annotated",
    help="""Set or remove annotations.

    \b
    howbectl annotate deploy/web kubernetes.io/change-cause='a new image'
    howbectl annotate pods --all note-
    """,
)
