"""What exists in every cluster: the leader creates the system namespaces once."""

from __future__ import annotations

import asyncio
import logging

from h9s._pb import api_pb2, core_pb2
from h9s.api.keys import object_key
from h9s.api.objects import to_any
from h9s.apiserver.authentication import SYSTEM
from h9s.apiserver.committer import Committer
from h9s.apiserver.lifecycle import NAMESPACE, SYSTEM_NAMESPACES
from h9s.errors import AlreadyExistsError, H9sError
from h9s.store.protocol import Store

logger = logging.getLogger(__name__)

_TIMEOUT_SECONDS = 5.0
_LOOK_SECONDS = 0.05


async def create_system_namespaces(store: Store, committer: Committer) -> None:
    """Return once the system namespaces exist, as seen from here; create them if this replica leads."""
    while missing := _missing(store):
        if store.leadership().ready:
            for name in missing:
                await _create(name, committer)
        await asyncio.sleep(_LOOK_SECONDS)


def _missing(store: Store) -> list[str]:
    view = store.view()
    return [name for name in SYSTEM_NAMESPACES if view.get(object_key(NAMESPACE, "", name)) is None]


async def _create(name: str, committer: Committer) -> None:
    namespace = core_pb2.Namespace()
    namespace.metadata.name = name
    operation = api_pb2.Operation(verb=api_pb2.Operation.CREATE, object=to_any(namespace))
    request = api_pb2.CommitRequest(operations=[operation])
    try:
        await committer.commit(request, SYSTEM, timeout=_TIMEOUT_SECONDS)
    except AlreadyExistsError:
        return
    except H9sError as error:
        logger.warning("cannot create namespace %s yet: %s", name, error.message)
        return
    logger.info("created namespace %s", name)
