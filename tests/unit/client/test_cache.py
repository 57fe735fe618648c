import asyncio

from h9s._pb import core_pb2, meta_pb2
from h9s.client.cache import Cache
from h9s.testing.fake_api import FakeApi
from tests.unit.client.virtual import new_client, pod, until, virtual


@virtual
async def test_what_is_first_written_during_the_first_list_is_not_missed():
    """Revision 0 means "now" to a list: the second kind would be listed at a later state than the first."""
    api = FakeApi()
    async with new_client(api) as client:
        plain_list, lists = client.list, 0

        async def list_and_write(*args, **kwargs):
            nonlocal lists
            listing = await plain_list(*args, **kwargs)
            lists += 1
            if lists == 1:
                api.objects.put(core_pb2.Namespace(metadata=meta_pb2.ObjectMeta(name="default")))
                api.objects.put(pod("a"))
                api.notify()
            return listing

        client.list = list_and_write  # type: ignore[method-assign]
        cache = Cache(client, [core_pb2.Namespace, core_pb2.Pod])
        task = asyncio.create_task(cache.run())
        await until(lambda: cache.revision == 2)
        assert cache.of(core_pb2.Namespace).get("", "default") is not None
        assert cache.of(core_pb2.Pod).get("default", "a") is not None
        task.cancel()
        await asyncio.wait([task])
