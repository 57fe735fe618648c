"""Many Commits over one stream."""

import asyncio
import gc

from h9s._pb import api_pb2
from h9s.api.objects import from_object
from h9s.apiserver import commit_stream
from h9s.apiserver.commit_stream import CommitStreamSession
from h9s.client.operations import create, update
from tests.unit.apiserver.support import ADMIN, Cluster, lease, pod, virtual


class Stream:
    """The client's end: messages in, answers collected."""

    def __init__(self):
        self.messages: asyncio.Queue[api_pb2.CommitStreamRequest | None] = asyncio.Queue()
        self.responses = []
        self.may_write = asyncio.Event()
        self.may_write.set()

    def send(self, *items):
        message = api_pb2.CommitStreamRequest()
        for tag, request in items:
            message.items.add(tag=tag, commit=request)
        self.messages.put_nowait(message)

    def end(self):
        self.messages.put_nowait(None)

    async def requests(self):
        while (message := await self.messages.get()) is not None:
            yield message

    async def write(self, response):
        await self.may_write.wait()
        self.responses.append(response)

    @property
    def answers(self):
        return {item.tag: item for response in self.responses for item in response.items}


async def serve(cluster, stream):
    session = CommitStreamSession(cluster.committer, ADMIN, timeout=5.0)
    await session.run(stream.requests(), stream.write)


@virtual
async def test_every_commit_is_answered_by_its_tag():
    cluster, stream = await Cluster.with_default_namespace(), Stream()
    stream.send(*[(i, cluster.request(create(pod(f"p{i}")))) for i in range(100)])
    stream.send((200, cluster.request(create(pod("p5")))), (201, cluster.request(create(pod("Bad_Name")))))
    stream.end()
    await serve(cluster, stream)
    assert set(stream.answers) == {*range(100), 200, 201}
    assert from_object(stream.answers[7].response.objects[0]).metadata.name == "p7"
    assert stream.answers[200].error.reason == "AlreadyExists"
    assert stream.answers[201].error.field_errors[0].path == "metadata.name"


@virtual
async def test_what_is_done_together_is_answered_together():
    cluster, stream = await Cluster.with_default_namespace(), Stream()
    stream.send(*[(i, cluster.request(create(pod(f"p{i}")))) for i in range(256)])
    stream.end()
    await serve(cluster, stream)
    assert len(stream.responses) == 1


@virtual
async def test_commits_of_one_message_may_touch_the_same_key():
    cluster, stream = await Cluster.with_default_namespace(), Stream()
    await cluster.commit(create(lease()))
    stream.send(*[(i, cluster.request(update(lease(holder=f"h{i}")))) for i in range(10)])
    stream.end()
    await serve(cluster, stream)
    assert sorted(item.response.revision for item in stream.answers.values()) == list(range(3, 13))


@virtual
async def test_a_dry_run_is_one_here_too():
    cluster, stream = await Cluster.with_default_namespace(), Stream()
    stream.send((1, cluster.request(create(pod()), dry_run=True)))
    stream.end()
    await serve(cluster, stream)
    assert stream.answers[1].HasField("response")
    assert cluster.get(pod()) is None


@virtual
async def test_a_client_that_takes_no_answers_is_not_read_from(monkeypatch):
    monkeypatch.setattr(commit_stream, "MAX_UNANSWERED", 10)
    cluster, stream = await Cluster.with_default_namespace(), Stream()
    stream.may_write.clear()
    serving = asyncio.create_task(serve(cluster, stream))
    for i in range(10):
        stream.send(*[(10 * i + j, cluster.request(create(pod(f"p{10 * i + j}")))) for j in range(10)])
    await asyncio.sleep(1)
    assert stream.messages.qsize() == 8
    stream.may_write.set()
    stream.end()
    await serving
    assert len(stream.answers) == 100


@virtual
async def test_a_broken_stream_does_not_undo_what_was_read():
    cluster, stream = await Cluster.with_default_namespace(), Stream()
    cluster.store.hold()
    stream.send((1, cluster.request(create(pod()))))
    serving = asyncio.create_task(serve(cluster, stream))
    await asyncio.sleep(0.01)
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    cluster.store.release()
    await asyncio.sleep(0.01)
    assert cluster.get(pod()) is not None


@virtual
async def test_a_message_of_very_many_commits_lets_others_have_their_turn(monkeypatch):
    monkeypatch.setattr(commit_stream, "_SLICE", 10)
    cluster, stream = await Cluster.with_default_namespace(), Stream()
    decide, decided, seen = cluster.committer.decide, [], set()

    def counted(request, caller, seed):
        decided.append(request)
        return decide(request, caller, seed)

    async def look():
        while len(decided) < 100:
            seen.add(len(decided))
            await asyncio.sleep(0)

    monkeypatch.setattr(cluster.committer, "decide", counted)
    stream.send(*[(i, cluster.request(create(pod(f"p{i}")))) for i in range(100)])
    stream.end()
    await asyncio.gather(look(), serve(cluster, stream))
    assert {10, 50, 90} <= seen
    assert len(stream.answers) == 100


@virtual
async def test_a_stream_that_breaks_while_it_is_read_from_leaves_no_loose_error():
    cluster, loose = await Cluster.with_default_namespace(), []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: loose.append(context))

    async def broken():
        try:
            await asyncio.Event().wait()
            yield
        finally:
            raise RuntimeError("the call is over")

    session = CommitStreamSession(cluster.committer, ADMIN, timeout=5.0)
    serving = asyncio.create_task(session.run(broken(), Stream().write))
    await asyncio.sleep(0.01)
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    await asyncio.sleep(0.01)
    del serving, session
    gc.collect()
    assert loose == []
