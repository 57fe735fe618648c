import pytest

from h9s._pb import core_pb2
from h9s.api import conditions
from h9s.kubelet.observed import State
from h9s.kubelet.runtime import RuntimeUnavailableError, SandboxError
from tests.unit.kubelet.world import World, make_pod


@pytest.fixture
def world():
    world = World(make_pod())
    yield world
    world.close()


def two_containers(**kwargs):
    return make_pod(
        core_pb2.Container(name="main", image="app:1"),
        core_pb2.Container(name="side", image="side:1"),
        **kwargs,
    )


def test_a_new_pod_gets_a_sandbox_and_its_containers(world):
    world.settle()
    assert world.runtime.operations == [
        *("observe", "create_sandbox", "observe", "ensure_image", "create_container", "start_container"),
        "observe",
    ]
    assert world.recorder.reasons() == ["Pulled", "Created", "Started"]
    status = world.status
    assert status.phase == "Running"
    assert status.pod_ip == "10.0.0.2"
    assert [ip.ip for ip in status.pod_ips] == ["10.0.0.2"]
    assert status.host_ip == "192.0.2.1"
    assert status.qos_class == "BestEffort"
    assert world.container().state.running.started_at.seconds == int(world.clock.now)
    assert world.container().ready
    assert world.container().container_id == "fake://main-uid-1-0"
    assert {c.type: c.status for c in status.conditions} == dict.fromkeys(
        ("Initialized", "Ready", "ContainersReady", "PodScheduled"), "True"
    )


def test_while_it_starts_its_status_says_container_creating(world):
    world.settle()
    first = world.reports.history[0]
    assert first.phase == "Pending"
    assert first.container_statuses[0].state.waiting.reason == "ContainerCreating"
    ready = conditions.get(first.conditions, "Ready")
    assert ready is not None
    assert (ready.status, ready.reason) == ("False", "ContainersNotReady")
    assert ready.message == "containers with unready status: [main]"


def test_containers_of_a_pod_share_one_sandbox_and_its_address():
    world = World(two_containers())
    world.settle()
    assert {run.sandbox_id for run in world.there.running} == {"sandbox-uid-1-0"}
    assert len(world.there.running) == 2
    world.close()


def test_a_restart_keeps_the_address(world):
    world.settle()
    before = world.status.pod_ip
    world.runtime.exit(world.run_of().id, 1)
    world.settle()
    assert world.status.pod_ip == before
    assert world.run_of().attempt == 1


def test_a_killed_container_is_back_at_once_the_first_time(world):
    world.settle()
    world.runtime.exit(world.run_of().id, 137)
    world.settle()
    assert world.run_of().state is State.RUNNING
    assert world.container().restart_count == 1
    assert world.container().last_state.terminated.exit_code == 137


def test_whoever_kills_a_container_again_and_again_has_to_wait_in_the_end(world):
    world.settle()
    waits = []
    for _ in range(7):
        world.runtime.exit(world.run_of().id, 137)
        result = world.settle()
        waits.append(result.wake_in)
        world.settle_for(result.wake_in or 0)
    assert waits == [None] * 6 + [10]


def test_a_kill_does_not_make_the_next_crash_a_repeated_one(world):
    world.settle()
    world.runtime.exit(world.run_of().id, 137)
    world.settle()
    world.runtime.exit(world.run_of().id, 1)
    assert world.settle().wake_in is None


def test_running_out_of_memory_is_a_crash(world):
    world.settle()
    world.runtime.exit(world.run_of().id, 137, reason="OOMKilled")
    world.settle()
    world.runtime.exit(world.run_of().id, 137, reason="OOMKilled")
    assert world.settle().wake_in == 10


def test_what_was_stopped_for_the_pods_own_sake_is_no_crash(world):
    world.settle()
    for number in range(2, 6):
        world.change(lambda pod, number=number: setattr(pod.spec.containers[0], "image", f"app:{number}"))
        world.settle()
    assert world.there.sandbox is not None
    world.runtime.lose_sandbox(world.there.sandbox.id)
    world.settle()
    assert world.run_of().state is State.RUNNING
    world.runtime.exit(world.run_of().id, 1)
    assert world.settle().wake_in is None


def test_a_removed_container_is_back_at_once_every_time(world):
    world.settle()
    for attempt in range(1, 6):
        world.runtime.lose_container(world.run_of().id)
        world.settle()
        assert world.run_of().state is State.RUNNING
        assert world.container().restart_count == attempt
    assert world.container().last_state.terminated.reason == "ContainerStatusUnknown"
    assert world.container().last_state.terminated.exit_code == 137


def test_a_crashing_container_waits_longer_every_time_up_to_five_minutes(world):
    world.settle()
    waits = []
    for _ in range(8):
        world.runtime.exit(world.run_of().id, 1)
        result = world.settle()
        waits.append(result.wake_in)
        if result.wake_in is not None:
            assert world.container().state.waiting.reason == "CrashLoopBackOff"
            assert world.container().last_state.terminated.exit_code == 1
            assert world.status.phase == "Running"
            world.clock.now += result.wake_in
            world.settle()
        assert world.run_of().state is State.RUNNING
    assert waits == [None, 10, 20, 40, 80, 160, 300, 300]
    assert world.recorder.reasons().count("BackOff") == 7


def test_after_ten_good_minutes_a_crash_is_the_first_again(world):
    world.settle()
    for _ in range(3):
        world.runtime.exit(world.run_of().id, 1)
        world.settle_for(100)
    world.clock.now += 601
    world.runtime.exit(world.run_of().id, 1)
    assert world.settle().wake_in is None
    assert world.run_of().state is State.RUNNING


def test_completing_is_no_reason_to_stay_away_where_the_policy_is_always(world):
    world.settle()
    world.runtime.exit(world.run_of().id, 0)
    world.settle()
    assert world.run_of().attempt == 1
    assert world.container().last_state.terminated.reason == "Completed"


@pytest.mark.parametrize(
    ("policy", "code", "phase"),
    [("Never", 0, "Succeeded"), ("Never", 3, "Failed"), ("OnFailure", 0, "Succeeded")],
)
def test_a_pod_that_is_over_keeps_its_containers_without_a_network(policy, code, phase):
    world = World(make_pod(policy=policy))
    world.settle()
    address = world.status.pod_ip
    world.runtime.exit(world.run_of().id, code)
    world.settle()
    assert world.status.phase == phase
    assert world.container().state.terminated.exit_code == code
    assert world.there.sandboxes == ()
    assert len(world.there.containers) == 1
    assert world.status.pod_ip == address
    ready = conditions.get(world.status.conditions, "Ready")
    assert ready is not None
    assert ready.status == "False"
    world.close()


def test_a_pod_that_is_over_stays_over_when_nothing_of_it_is_left():
    world = World(make_pod(policy="OnFailure"))
    world.settle()
    world.runtime.exit(world.run_of().id, 0)
    world.settle()
    world.deliver()
    world.runtime.lose_container(world.run_of().id)
    world.worker = world.new_worker()
    world.settle()
    assert world.there.is_empty
    assert world.status.phase == "Succeeded"
    world.close()


def test_a_pod_on_failure_runs_on_while_one_container_has_completed():
    world = World(two_containers(policy="OnFailure"))
    world.settle()
    world.runtime.exit(world.run_of("side").id, 0)
    world.settle()
    assert world.status.phase == "Running"
    assert world.container("side").state.terminated.reason == "Completed"
    assert not world.container("side").ready
    world.runtime.exit(world.run_of("main").id, 2)
    world.settle()
    assert world.run_of("main").attempt == 1
    assert world.run_of("side").attempt == 0
    world.close()


def test_a_container_that_vanishes_is_not_run_again_where_the_policy_is_never():
    world = World(make_pod(policy="Never"))
    world.settle()
    world.runtime.lose_container(world.run_of().id)
    world.settle()
    assert world.there.containers == ()
    assert world.status.phase == "Failed"
    assert world.container().state.terminated.reason == "ContainerStatusUnknown"
    world.close()


@pytest.mark.parametrize("leave_dead", [False, True])
def test_a_dead_sandbox_takes_its_containers_along_into_a_new_one(leave_dead):
    world = World(two_containers())
    world.settle()
    old = world.status.pod_ip
    assert world.there.sandbox is not None
    world.runtime.lose_sandbox(world.there.sandbox.id, leave_dead=leave_dead)
    world.settle()
    assert world.there.sandbox.id == "sandbox-uid-1-1"
    assert {run.sandbox_id for run in world.there.running} == {"sandbox-uid-1-1"}
    assert len(world.there.running) == 2
    assert len(world.there.sandboxes) == 1
    assert world.status.pod_ip != old
    world.close()


def test_a_new_sandbox_waits_for_the_old_ones_containers_but_not_for_long(world):
    world.runtime.stubborn = {"main"}
    world.settle()
    assert world.there.sandbox is not None
    world.runtime.lose_sandbox(world.there.sandbox.id)
    result = world.settle()
    assert world.there.sandbox is None
    assert result.wake_in == 0.5
    world.clock.now += 0.5
    world.settle()
    assert world.there.sandbox is not None
    assert [run.attempt for run in world.there.running] == [1]


def test_a_missing_image_is_shown_with_its_reason_and_tried_again(world):
    world.runtime.missing_images = {"app:1"}
    result = world.settle()
    waiting = world.container().state.waiting
    assert (waiting.reason, waiting.message) == ("ErrImagePull", "nobody has an image app:1")
    assert world.status.phase == "Pending"
    assert result.wake_in == 10
    world.clock.now += 10
    assert world.settle().wake_in == 20
    waiting = world.container().state.waiting
    assert waiting.reason == "ImagePullBackOff"
    assert "nobody has an image app:1" in waiting.message
    world.runtime.missing_images = set()
    world.clock.now += 20
    world.settle()
    assert world.status.phase == "Running"
    assert world.container().restart_count == 0
    assert ("Warning", "Failed", "ErrImagePull: nobody has an image app:1") in world.recorder.events


def test_another_image_is_tried_at_once(world):
    world.runtime.missing_images = {"app:1"}
    world.settle()
    world.change(lambda pod: setattr(pod.spec.containers[0], "image", "app:2"))
    world.settle()
    assert world.run_of().image == "app:2"


def test_another_image_for_a_running_container_replaces_it(world):
    world.settle()
    world.change(lambda pod: setattr(pod.spec.containers[0], "image", "app:2"))
    world.settle()
    assert [(run.image, run.attempt) for run in world.there.running] == [("app:2", 1)]
    assert "Killing" in world.recorder.reasons()


def test_an_image_that_may_not_be_pulled_says_so():
    pod = make_pod(core_pb2.Container(name="main", image="app:1", image_pull_policy="Never"))
    world = World(pod)
    world.runtime.missing_images = {"app:1"}
    world.settle()
    assert world.container().state.waiting.reason == "ErrImageNeverPull"
    world.close()


def test_a_program_that_cannot_be_started_shows_why_and_backs_off(world):
    world.runtime.broken_images = {"app:1"}
    result = world.settle()
    assert world.run_of().attempt == 1
    waiting = world.container().state.waiting
    assert waiting.reason == "RunContainerError"
    assert "app:1 has no program that can be run" in waiting.message
    assert world.container().last_state.terminated.exit_code == 127
    assert result.wake_in == 10


def test_a_reference_to_a_field_that_pods_do_not_have_is_a_config_error():
    variable = core_pb2.EnvVar(name="X")
    variable.value_from.field_ref.field_path = "spec.nonsense"
    world = World(make_pod(core_pb2.Container(name="main", image="app:1", env=[variable])))
    world.settle()
    waiting = world.container().state.waiting
    assert waiting.reason == "CreateContainerConfigError"
    assert "spec.nonsense" in waiting.message
    world.close()


def test_a_sandbox_that_cannot_be_made_is_tried_again(world):
    def fail(operation):
        if operation == "create_sandbox":
            raise SandboxError("port 80 is taken")

    world.runtime.before = fail
    result = world.settle()
    assert result.wake_in == 1
    waiting = world.container().state.waiting
    assert (waiting.reason, waiting.message) == ("ContainerCreating", "port 80 is taken")
    assert world.recorder.reasons() == ["FailedCreatePodSandBox"]
    world.runtime.before = lambda operation: None
    world.clock.now += 1
    world.settle()
    assert world.status.phase == "Running"


def test_a_deleted_pod_is_stopped_politely_and_then_reported_gone(world):
    world.settle()
    world.delete()
    result = world.settle()
    assert result.finished
    assert world.there.is_empty
    assert world.reports.finished == ["uid-1"]
    assert "kill_container" not in world.runtime.operations
    assert "Killing" in world.recorder.reasons()


def test_what_does_not_end_in_its_grace_period_is_killed(world):
    world.runtime.stubborn = {"main"}
    world.settle()
    world.delete(grace=7)
    assert world.settle().wake_in == 7
    assert "kill_container" not in world.runtime.operations
    world.clock.now += 6.9
    world.settle()
    assert world.there.running
    world.clock.now += 0.1
    assert world.settle().finished
    assert world.runtime.operations.count("kill_container") == 1
    assert world.runtime.operations.count("terminate_container") == 1


def test_a_grace_period_may_be_cut_short(world):
    world.runtime.stubborn = {"main"}
    world.settle()
    world.delete(grace=600)
    world.settle()
    world.clock.now += 3
    world.delete(grace=2)
    assert world.settle().finished


def test_a_pod_that_the_api_does_not_know_is_stopped_within_its_own_grace(world):
    world.runtime.stubborn = {"main"}
    world.settle()
    world.worker = world.new_worker()
    world.forget()
    assert world.settle().wake_in == 30
    world.clock.now += 30
    assert world.settle().finished
    assert world.there.is_empty


def test_without_the_apis_word_an_unknown_pod_is_left_alone(world):
    world.settle()
    world.worker = world.new_worker()
    world.forget()
    world.desired.complete = False
    world.settle()
    assert len(world.there.running) == 1


def test_a_restarted_howbelet_adopts_what_runs(world):
    world.settle()
    world.runtime.exit(world.run_of().id, 1)
    world.settle()
    world.deliver()
    before = world.there
    world.runtime.operations.clear()
    world.worker = world.new_worker()
    world.settle()
    assert world.there == before
    assert world.runtime.operations == ["observe"]
    assert world.container().restart_count == 1
    assert world.container().last_state.terminated.exit_code == 1


def test_a_container_that_was_made_but_not_started_is_started(world):
    def fail(operation):
        if operation == "start_container":
            raise RuntimeUnavailableError("cut off")

    world.runtime.before = fail
    with pytest.raises(RuntimeUnavailableError):
        world.settle()
    assert world.run_of().state is State.CREATED
    world.runtime.before = lambda operation: None
    world.worker = world.new_worker()
    world.settle()
    assert [(run.attempt, run.state) for run in world.there.containers] == [(0, State.RUNNING)]
    assert world.container().restart_count == 0


def test_the_engine_away_is_not_the_containers_fault(world):
    world.settle()
    world.runtime.available = False
    with pytest.raises(RuntimeUnavailableError):
        world.reconcile()
    world.runtime.available = True
    assert not world.reconcile().acted
    assert world.container().restart_count == 0


def test_what_vanishes_between_look_and_step_is_looked_at_again(world):
    def vanish(operation):
        if operation == "create_container":
            world.runtime.before = lambda operation: None
            assert world.there.sandbox is not None
            world.runtime.lose_sandbox(world.there.sandbox.id)

    world.runtime.before = vanish
    world.settle()
    assert world.status.phase == "Running"
    assert world.there.sandbox is not None
    assert world.there.sandbox.attempt == 1


def test_the_last_dead_run_is_kept_for_its_output_and_older_ones_are_not(world):
    world.settle()
    for _ in range(4):
        world.runtime.exit(world.run_of().id, 1)
        world.settle_for(400)
    assert [run.attempt for run in world.there.containers] == [3, 4]


def test_containers_that_the_spec_does_not_have_are_removed():
    world = World(two_containers())
    world.settle()
    world.change(lambda pod: pod.spec.containers.pop())
    world.settle()
    assert [run.name for run in world.there.containers] == ["main"]
    world.close()


def test_conditions_of_others_and_times_of_what_did_not_change_are_kept(world):
    world.settle()
    began = world.status.start_time.seconds
    world.change(lambda pod: pod.status.conditions.add(type="Gate", status="True"))
    world.reports.reported.clear()
    world.clock.now += 50
    world.runtime.exit(world.run_of().id, 1)
    world.settle()
    found = {condition.type: condition for condition in world.status.conditions}
    assert found["Gate"].status == "True"
    assert found["PodScheduled"].last_transition_time.seconds == began
    assert world.status.start_time.seconds == began


def test_what_the_runtime_does_not_do_is_told(world):
    world.runtime.warnings = ["no limits here"]
    world.settle()
    assert ("Warning", "NotEnforced", "container main: no limits here") in world.recorder.events
