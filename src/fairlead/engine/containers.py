"""The life of a container as far as the node decides it: created, started, ended, removed."""

from __future__ import annotations

from dataclasses import replace

from fairlead.engine import endpoints, gateways, health, presence, restarts, sandboxes
from fairlead.engine.checks import check_config
from fairlead.engine.core import Core, Turn
from fairlead.engine.holds import Starting
from fairlead.engine.names import invent_name
from fairlead.engine.outcome import CloseResolver, Discard, Release, Run, Signal, Suspend, Terminate
from fairlead.engine.wishes import check_wishes
from fairlead.model import codes
from fairlead.model.commands import (
    AlreadyThere,
    CreateContainer,
    KillContainer,
    PauseContainer,
    RemoveContainer,
    RenameContainer,
    StartContainer,
    StopContainer,
    UpdateContainer,
)
from fairlead.model.container import Container, ContainerConfig, ContainerState
from fairlead.model.endpoint import EndpointSettings
from fairlead.model.errors import Conflict, Internal, Invalid, NotFound
from fairlead.model.events import ContainerExited, ContainerFailed, ContainerRunning, RestartDue
from fairlead.model.health import check_policy
from fairlead.model.ids import check_name, new_id, short
from fairlead.model.image import STOP_SIGNAL
from fairlead.model.limits import check_limits, merge
from fairlead.model.mount import Mount, parse_volume
from fairlead.model.runspec import RunSpec
from fairlead.model.sandbox import Sandbox
from fairlead.model.signals import SIGKILL, signal_number

#: ``--network container:<ref>`` shares that container's sandbox.
SHARED = "container:"
#: Exit codes of a start that failed since the command cannot be run or is not there: the user's mistake (Docker: 400).
_WRONG_COMMAND = (126, 127)


def create(turn: Turn, command: CreateContainer) -> Container:
    """Record a container; raises ``Invalid`` or ``Conflict``. Addresses and networks are looked at when it starts."""
    identifier = new_id(turn.core.chance)
    name = command.name.removeprefix("/") or invent_name(turn.core.chance, turn.state)
    check_name("container", name)
    other = turn.state.container_named(name)
    if other is not None:
        raise Conflict(
            f'Conflict. The container name "/{name}" is already in use by container "{other.id}". '
            "You have to remove (or rename) that container to be able to reuse that name.",
            hint=f"`fairlead rm {name}` removes it",
            code=codes.CONTAINER_NAME_TAKEN,
        )
    config = _normal(turn.core, command.config)
    if not config.hostname and config.network_mode != "host" and not config.network_mode.startswith(SHARED):
        config = replace(config, hostname=short(identifier))
    container = Container(identifier, name, turn.at, config, task_id=command.task_id)
    turn.state.put(container)
    turn.tell_container("create", container)
    return container


def start(turn: Turn, command: StartContainer) -> AlreadyThere | None:
    """Prepare sandbox and endpoints and have the process started; raises what joining raises, nothing changed then."""
    container = turn.state.container(command.container)
    if container.state.status == "paused":
        raise Conflict(
            "cannot start a paused container, try unpause instead",
            hint=f"`fairlead unpause {container.name}`",
            code=codes.CONTAINER_BUSY,
        )
    if container.running:
        return AlreadyThere()
    _check_started(container)
    _launch(turn, container, replace(container.state, restarts=0, backoff_s=0.0, stopped=False))
    return None


def _check_started(container: Container) -> None:
    """What is asked of a container that is being started is asked when that has come to its end."""
    if container.state.status == "starting":
        raise Starting(container.id, container.name)


def restart(turn: Turn, event: RestartDue) -> None:
    """The time has come to start a container again by its policy; raises what joining raises. Nothing happens if it
    was stopped, started or removed meanwhile."""
    container = turn.state.containers.get(event.container_id)
    if container is not None and container.state.status == "restarting":
        _launch(turn, container, container.state)


def _launch(turn: Turn, container: Container, state: ContainerState) -> None:
    mode = container.config.network_mode
    if mode.startswith(SHARED):
        target = _shared_target(turn, container, mode.removeprefix(SHARED))
        sandbox = turn.state.sandbox_of(target.id)
        if sandbox and sandbox.netns and container.config.powers.administers_network and not sandbox.administered:
            sandbox = replace(sandbox, administered=True)
            turn.state.put(sandbox)
            turn.touch_sandbox(sandbox)
        files_of, netns = target.id, sandbox.netns if sandbox else ""
        hostname = target.config.hostname
    else:
        sandbox = _sandbox(turn, container)
        files_of, netns, hostname = container.id, sandbox.netns, sandbox.hostname
    turn.state.put(replace(container, state=replace(state, status="starting", error="", exit_code=0)))
    turn.say(Run(_spec(turn, container, files_of, netns, hostname)))


def running(turn: Turn, event: ContainerRunning) -> None:
    """The process runs."""
    container = turn.state.containers[event.container_id]
    before = container.state
    state = ContainerState(
        "running",
        event.pid,
        event.monitor_pid,
        started=event.at,
        finished=before.finished,
        restarts=before.restarts,
        backoff_s=before.backoff_s,
    )
    turn.state.put(replace(container, state=state))
    turn.tell_container("start", container)
    health.begin(turn, turn.state.containers[container.id])
    presence.follow(turn, turn.state.containers[container.id])


def failed(turn: Turn, event: ContainerFailed) -> Invalid | Internal:
    """The process could not be started: the sandbox goes, the container stays as created, or is started again by its
    policy if only the daemon's end kept it from running. Returns the error."""
    container = turn.state.containers[event.container_id]
    _strip(turn, container)
    status = "exited" if container.state.finished else "created"
    state = replace(container.state, status=status, error=event.message, exit_code=event.exit_code)
    turn.state.put(replace(container, state=state))
    if event.cut_short:
        restarts.plan(turn, turn.state.containers[container.id])
    hint = f"`fairlead inspect {container.name}` shows what was asked to run"
    if container.config.auto_remove:
        forget(turn, turn.state.containers[container.id], volumes=True)
        hint = ""
    meaning = Invalid if event.exit_code in _WRONG_COMMAND else Internal
    return meaning(event.message, hint=hint, code=codes.START_FAILED)


def exited(turn: Turn, event: ContainerExited) -> None:
    """The process is gone: its endpoints and sandbox go; with ``--rm``, or when it is to be removed, the container too,
    else its restart policy is asked."""
    container = turn.state.containers.get(event.container_id)
    if container is None or container.state.status in ("created", "exited", "restarting"):
        return
    _strip(turn, container)
    state = replace(
        container.state,
        status="exited",
        pid=0,
        monitor_pid=0,
        exit_code=event.exit_code,
        finished=event.at,
        oom_killed=event.oom_killed,
    )
    ended = replace(container, state=state)
    turn.state.put(ended)
    if event.oom_killed:
        turn.tell_container("oom", ended)
    turn.tell_container("die", ended, exitCode=str(event.exit_code))
    if container.state.status == "stopping":
        turn.tell_container("stop", ended)
    if container.config.auto_remove or state.removing:
        forget(turn, ended, volumes=state.remove_volumes or container.config.auto_remove)
        return
    turn.say(Release(container.id))
    restarts.plan(turn, ended)


def stop(turn: Turn, command: StopContainer) -> tuple[AlreadyThere | None, str]:
    """Ask the process to end; the answer waits for the container whose id is returned."""
    container = turn.state.container(command.container)
    if container.state.status == "restarting":
        restarts.call_off(turn, container)
        turn.tell_container("stop", container)
        return None, ""
    _check_started(container)
    if not container.running:
        return AlreadyThere(), ""
    config, paused = container.config, container.state.status == "paused"
    signal = command.signal or config.stop_signal
    signal_number(signal)
    timeout_s = config.stop_timeout_s if command.timeout_s is None else command.timeout_s
    turn.state.put(replace(container, state=replace(container.state, status="stopping", stopped=True)))
    if paused:
        turn.say(Suspend(container.id, resume=True))
    told = presence.withdraw(turn, container)
    turn.say(Terminate(container.id, signal, timeout_s, told if container.task_id else ()))
    turn.tell_container("kill", container, signal=str(signal_number(signal)))
    return None, container.id


def kill(turn: Turn, command: KillContainer) -> None:
    """Send a signal; raises ``Conflict`` when nothing runs. One that is to end the container keeps its restart policy
    from starting it again (Docker)."""
    container = turn.state.container(command.container)
    _check_started(container)
    if not container.running:
        raise Conflict(
            f"cannot kill container: {container.name}: container {container.id} is not running",
            hint=f"`fairlead start {container.name}` starts it",
            code=codes.CONTAINER_NOT_RUNNING,
        )
    number = signal_number(command.signal)
    ends = number in (SIGKILL, signal_number(container.config.stop_signal))
    if ends:
        presence.withdraw(turn, container)
    turn.say(Signal(container.id, command.signal))
    if ends:
        status = "stopping" if container.state.status == "paused" else container.state.status
        turn.state.put(replace(container, state=replace(container.state, status=status, stopped=True)))
        if status != container.state.status:
            turn.say(Suspend(container.id, resume=True))
    turn.tell_container("kill", container, signal=str(number))


def pause(turn: Turn, command: PauseContainer) -> None:
    """Stop a container's clock, or let it go on; raises ``Conflict`` with Docker's words."""
    container = turn.state.container(command.container)
    status = container.state.status
    if command.resume:
        if status != "paused":
            raise Conflict(f"Container {container.id} is not paused", code=codes.CONTAINER_NOT_RUNNING)
    elif status == "paused":
        raise Conflict(
            f"Container {container.id} is already paused",
            hint=f"`fairlead unpause {container.name}`",
            code=codes.CONTAINER_NOT_RUNNING,
        )
    elif status != "running":
        raise Conflict(
            f"Container {container.id} is not running",
            hint=f"`fairlead start {container.name}` starts it",
            code=codes.CONTAINER_NOT_RUNNING,
        )
    changed = replace(container, state=replace(container.state, status="running" if command.resume else "paused"))
    turn.state.put(changed)
    turn.say(Suspend(container.id, command.resume))
    turn.tell_container("unpause" if command.resume else "pause", changed)


def update(turn: Turn, command: UpdateContainer) -> Container:
    """Other limits and another restart policy; raises ``Invalid`` with Docker's words."""
    container = turn.state.container(command.container)
    config = container.config
    if command.restart is not None:
        if config.auto_remove and command.restart.name != "no":
            raise Invalid(
                "Restart policy cannot be updated because AutoRemove is enabled for the container",
                code=codes.OPTIONS_CONFLICT,
            )
        check_policy(command.restart, auto_remove=False)
        config = replace(config, restart=command.restart)
    if command.limits is not None:
        config = replace(config, limits=check_limits(merge(config.limits, command.limits)))
    changed = replace(container, config=config)
    turn.state.put(changed)
    turn.tell_container("update", changed)
    return changed


def remove(turn: Turn, command: RemoveContainer) -> str:
    """Forget a container; with ``force`` a running one is killed first, and its id returned to wait for."""
    container = turn.state.container(command.container)
    if container.running:
        if not command.force:
            raise Conflict(
                f'cannot remove container "/{container.name}": container is running: '
                "stop the container before removing or force remove",
                hint=f"`fairlead rm --force {container.name}` kills and removes it",
                code=codes.CONTAINER_RUNNING,
            )
        marked = replace(container.state, removing=True, remove_volumes=command.volumes, stopped=True)
        turn.state.put(replace(container, state=marked))
        presence.withdraw(turn, container)
        turn.say(Terminate(container.id, "SIGKILL", 0))
        turn.tell_container("kill", container, signal=str(SIGKILL))
        if container.state.status == "paused":
            turn.say(Suspend(container.id, resume=True))
        return container.id
    if container.state.status == "restarting" and not command.force:
        raise Conflict(
            f'cannot remove container "/{container.name}": container is restarting: '
            "stop the container before removing or force remove",
            hint=f"`fairlead rm --force {container.name}` kills and removes it",
            code=codes.CONTAINER_RUNNING,
        )
    _check_started(container)
    forget(turn, container, volumes=command.volumes)
    return ""


def resume(turn: Turn, container: Container) -> None:
    """At the daemon's start: what was under way with a container goes on."""
    if container.running and container.state.removing:
        turn.say(Terminate(container.id, "SIGKILL", 0))
    elif container.state.status == "stopping":
        told = presence.networks_of(turn, container) if container.task_id else ()
        turn.say(Terminate(container.id, container.config.stop_signal, container.config.stop_timeout_s, told))
    elif container.running:
        health.resume(turn, container)
    else:
        restarts.resume(turn, container)


def rename(turn: Turn, command: RenameContainer) -> None:
    """Give another name; its endpoints' DNS names follow."""
    container = turn.state.container(command.container)
    name = check_name("container", command.name.removeprefix("/"))
    other = turn.state.container_named(name)
    if other is not None and other.id != container.id:
        raise Conflict(
            f'Conflict. The container name "/{name}" is already in use by container "{other.id}".',
            code=codes.CONTAINER_NAME_TAKEN,
        )
    renamed = replace(container, name=name)
    turn.state.put(renamed)
    for endpoint in turn.state.endpoints_of_container(container.id):
        if endpoint.leads_out:
            continue
        names = endpoints.dns_names(renamed, endpoint.settings.aliases) if endpoint.dns_names else ()
        changed = replace(endpoint, name=name, dns_names=names)
        turn.state.put(changed)
        presence.register(turn, changed)
    turn.tell_container("rename", renamed, oldName=f"/{container.name}")


def forget(turn: Turn, container: Container, *, volumes: bool = False) -> None:
    """Drop a container that does not run, with everything the runtime holds of it, and on demand the volumes that
    nobody gave a name."""
    _strip(turn, container)
    turn.state.drop(turn.state.containers[container.id])
    own = tuple(mount.source for mount in container.config.mounts if mount.kind == "volume" and mount.anonymous)
    turn.say(Discard(container.id, own if volumes else ()))
    turn.tell_container("destroy", container)


def _normal(core: Core, config: ContainerConfig) -> ContainerConfig:
    """Fill in what the user left out; raises ``Invalid`` for contradictions, with Docker's texts."""
    check_config(config)
    config = replace(config, stop_signal=config.stop_signal or STOP_SIGNAL)
    check_wishes(config)
    config = replace(config, mounts=tuple(_named(core, mount) for mount in config.mounts))
    mode = config.network_mode or "default"
    if mode.startswith(SHARED):
        _check_shared(config)
        return replace(config, endpoints={})
    if not config.command and not config.entrypoint:
        config = replace(config, command=("/bin/sh",))
    main = "bridge" if mode == "default" else mode
    asked_of = {(main if ref == "default" else ref): value for ref, value in config.endpoints.items()}
    settings = {main: asked_of.pop(main, EndpointSettings()), **asked_of}
    if main in ("host", "none") and len(settings) > 1:
        raise Invalid(
            "container cannot be connected to multiple networks with one of the networks in private (none) mode"
            if main == "none"
            else "cannot connect container to host network - container must be created in host network mode",
            hint="give either --network host or --network none alone, or only networks of your own",
            code=codes.MODES_CONFLICT,
        )
    return replace(config, network_mode=mode, endpoints=settings)


def _named(core: Core, mount: Mount) -> Mount:
    """A volume that nobody gave a name gets one."""
    if mount.kind != "volume" or mount.source:
        return mount
    return replace(mount, source=new_id(core.chance), anonymous=True)


def _check_shared(config: ContainerConfig) -> None:
    asked = {
        "hostname and the network mode": config.hostname,
        "dns and the network mode": config.dns,
        "custom host-to-IP mapping and the network mode": config.extra_hosts,
        "port publishing and the container type network mode": config.ports or config.publish_all,
    }
    for what, given in asked.items():
        if given:
            raise Invalid(
                f"conflicting options: {what}",
                hint="the container that owns the network decides it",
                code=codes.OPTIONS_CONFLICT,
            )


def _sandbox(turn: Turn, container: Container) -> Sandbox:
    core, config = turn.core, container.config
    host_mode = config.network_mode == "host"
    identifier = new_id(core.chance)
    sandbox = Sandbox(
        id=identifier,
        container_id=container.id,
        netns="" if host_mode else short(identifier),
        hostname=config.hostname or core.settings.hostname,
        domainname=config.domainname,
        extra_hosts=config.extra_hosts,
        dns=config.dns,
        dns_search=config.dns_search,
        dns_options=config.dns_options,
        administered=config.powers.administers_network,
    )
    turn.state.put(sandbox)
    turn.touch_sandbox(sandbox)
    for ref, settings in config.endpoints.items():
        network = turn.state.network(ref)
        current = turn.state.sandboxes[sandbox.id]
        presence.register(turn, endpoints.join(turn, current, container, network, settings))
    gateways.settle(turn, sandbox.id, container)
    sandboxes.rebind(turn, sandbox, container)
    sandboxes.write_files(turn, sandbox, container)
    return turn.state.sandboxes[sandbox.id]


def _strip(turn: Turn, container: Container) -> None:
    sandbox = turn.state.sandbox_of(container.id)
    if sandbox is None:
        return
    if sandboxes.needs_resolver(turn.core, sandbox):
        turn.say(CloseResolver(sandbox.id))
    for endpoint in turn.endpoints_of(sandbox):
        endpoints.leave(turn, endpoint)
    turn.state.drop(turn.state.sandboxes[sandbox.id])
    turn.touch_sandbox(sandbox)


def _shared_target(turn: Turn, container: Container, ref: str) -> Container:
    target = turn.state.container(ref)
    if target.id == container.id:
        raise Internal("cannot join own network namespace", code=codes.MODES_CONFLICT)
    if not target.running:
        raise Conflict(
            f"cannot join network namespace of a non running container: container {target.name} is "
            f"{target.state.status}",
            hint=f"`fairlead start {target.name}` first",
            code=codes.CONTAINER_NOT_RUNNING,
        )
    if target.config.network_mode.startswith(SHARED):
        raise Invalid("cannot join network namespace of a container that itself shares one", code=codes.MODES_CONFLICT)
    if turn.state.sandbox_of(target.id) is None:
        raise NotFound(f"container {target.name} has no sandbox", code=codes.MODES_CONFLICT)
    return target


def _spec(turn: Turn, container: Container, files_of: str, netns: str, hostname: str) -> RunSpec:
    config, core = container.config, turn.core
    folder = f"{core.paths.containers}/{files_of}"
    return RunSpec(
        container_id=container.id,
        image=config.image,
        args=(*config.entrypoint, *config.command),
        env=config.env,
        working_dir=config.working_dir,
        user=config.user,
        hostname=hostname,
        domainname=config.domainname,
        tty=config.tty,
        open_stdin=config.open_stdin,
        netns=f"{core.paths.netns}/{netns}" if netns else "",
        hosts=f"{folder}/hosts",
        resolv_conf=f"{folder}/resolv.conf",
        hostname_file=f"{folder}/hostname",
        mounts=(*map(parse_volume, config.binds), *config.mounts),
        read_only=config.read_only,
        stop_signal=config.stop_signal,
        limits=config.limits,
        powers=replace(
            config.powers,
            pid_mode=_joined(turn, container, config.powers.pid_mode),
            ipc_mode=_joined(turn, container, config.powers.ipc_mode),
        ),
        log_bytes_max=config.logging.size_bytes,
        log_files=config.logging.files,
    )


def _joined(turn: Turn, container: Container, mode: str) -> str:
    """A namespace mode with the reference of its container as an id."""
    if not mode.startswith(SHARED):
        return mode
    target = turn.state.container(mode.removeprefix(SHARED))
    if target.id == container.id:
        raise Invalid("cannot join own PID namespace", hint="name another container", code=codes.MODES_CONFLICT)
    return f"{SHARED}{target.id}"
