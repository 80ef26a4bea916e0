"""The life of a container as far as the node decides it: created, started, ended, removed."""

from __future__ import annotations

from dataclasses import replace

from fairlead.engine import endpoints, sandboxes
from fairlead.engine.checks import check_config
from fairlead.engine.core import Core, Turn
from fairlead.engine.names import invent_name
from fairlead.engine.outcome import CloseResolver, Discard, Release, Run, Signal, Terminate
from fairlead.model.commands import (
    AlreadyThere,
    CreateContainer,
    KillContainer,
    RemoveContainer,
    RenameContainer,
    StartContainer,
    StopContainer,
)
from fairlead.model.container import Container, ContainerConfig, ContainerState
from fairlead.model.endpoint import EndpointSettings
from fairlead.model.errors import Conflict, Internal, Invalid, NotFound
from fairlead.model.events import ContainerExited, ContainerFailed, ContainerRunning
from fairlead.model.ids import check_name, new_id, short
from fairlead.model.runspec import RunSpec
from fairlead.model.sandbox import Sandbox

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
        )
    config = _normal(turn.core, command.config)
    if not config.hostname and config.network_mode != "host" and not config.network_mode.startswith(SHARED):
        config = replace(config, hostname=short(identifier))
    container = Container(identifier, name, turn.at, config)
    turn.state.put(container)
    turn.tell_container("create", container)
    return container


def start(turn: Turn, command: StartContainer) -> AlreadyThere | None:
    """Prepare sandbox and endpoints and have the process started; raises what joining raises, nothing changed then."""
    container = turn.state.container(command.container)
    if container.running:
        return AlreadyThere()
    if container.state.status == "starting":
        raise Conflict(f"container {container.name} is being started already")
    mode = container.config.network_mode
    if mode.startswith(SHARED):
        target = _shared_target(turn, container, mode.removeprefix(SHARED))
        sandbox = turn.state.sandbox_of(target.id)
        files_of, netns = target.id, sandbox.netns if sandbox else ""
        hostname = target.config.hostname
    else:
        sandbox = _sandbox(turn, container)
        files_of, netns, hostname = container.id, sandbox.netns, sandbox.hostname
    begun = replace(container, state=replace(container.state, status="starting", error="", exit_code=0))
    turn.state.put(begun)
    turn.say(Run(_spec(turn.core, container, files_of, netns, hostname)))
    return None


def running(turn: Turn, event: ContainerRunning) -> None:
    """The process runs."""
    container = turn.state.containers[event.container_id]
    state = ContainerState("running", event.pid, event.monitor_pid, started=event.at)
    turn.state.put(replace(container, state=state))
    turn.tell_container("start", container)


def failed(turn: Turn, event: ContainerFailed) -> Invalid | Internal:
    """The process could not be started: the sandbox goes, the container stays as created. Returns the error."""
    container = turn.state.containers[event.container_id]
    _strip(turn, container)
    status = "exited" if container.state.finished else "created"
    state = replace(container.state, status=status, error=event.message, exit_code=event.exit_code)
    turn.state.put(replace(container, state=state))
    hint = f"`fairlead inspect {container.name}` shows what was asked to run"
    if container.config.auto_remove:
        forget(turn, turn.state.containers[container.id])
        hint = ""
    meaning = Invalid if event.exit_code in _WRONG_COMMAND else Internal
    return meaning(event.message, hint=hint)


def exited(turn: Turn, event: ContainerExited, *, discard: bool) -> None:
    """The process is gone: its endpoints and sandbox go; with ``--rm`` or ``discard`` the container too."""
    container = turn.state.containers.get(event.container_id)
    if container is None or container.state.status in ("created", "exited"):
        return
    _strip(turn, container)
    state = replace(
        container.state, status="exited", pid=0, monitor_pid=0, exit_code=event.exit_code, finished=event.at
    )
    ended = replace(container, state=state)
    turn.state.put(ended)
    turn.tell_container("die", ended, exitCode=str(event.exit_code))
    if container.config.auto_remove or discard:
        forget(turn, ended)
    else:
        turn.say(Release(container.id))


def stop(turn: Turn, command: StopContainer) -> tuple[AlreadyThere | None, str]:
    """Ask the process to end; the answer waits for the container whose id is returned."""
    container = turn.state.container(command.container)
    if not container.running:
        return AlreadyThere(), ""
    config = container.config
    timeout_s = config.stop_timeout_s if command.timeout_s is None else command.timeout_s
    turn.state.put(replace(container, state=replace(container.state, status="stopping")))
    turn.say(Terminate(container.id, config.stop_signal, timeout_s))
    turn.tell_container("stop", container)
    return None, container.id


def kill(turn: Turn, command: KillContainer) -> None:
    """Send a signal; raises ``Conflict`` when nothing runs."""
    container = turn.state.container(command.container)
    if not container.running:
        raise Conflict(
            f"cannot kill container: {container.name}: container {container.id} is not running",
            hint=f"`fairlead start {container.name}` starts it",
        )
    turn.say(Signal(container.id, command.signal))
    turn.tell_container("kill", container, signal=command.signal)


def remove(turn: Turn, command: RemoveContainer) -> str:
    """Forget a container; with ``force`` a running one is killed first, and its id returned to wait for."""
    container = turn.state.container(command.container)
    if container.running:
        if not command.force:
            raise Conflict(
                f'cannot remove container "/{container.name}": container is running: '
                "stop the container before removing or force remove",
                hint=f"`fairlead rm --force {container.name}` kills and removes it",
            )
        turn.say(Terminate(container.id, "SIGKILL", 0))
        return container.id
    if container.state.status == "starting":
        raise Conflict(f"container {container.name} is being started", hint="try again when it runs")
    forget(turn, container)
    return ""


def rename(turn: Turn, command: RenameContainer) -> None:
    """Give another name; its endpoints' DNS names follow."""
    container = turn.state.container(command.container)
    name = check_name("container", command.name.removeprefix("/"))
    other = turn.state.container_named(name)
    if other is not None and other.id != container.id:
        raise Conflict(f'Conflict. The container name "/{name}" is already in use by container "{other.id}".')
    renamed = replace(container, name=name)
    turn.state.put(renamed)
    for endpoint in turn.state.endpoints_of_container(container.id):
        names = endpoints.dns_names(renamed, endpoint.settings.aliases) if endpoint.dns_names else ()
        changed = replace(endpoint, name=name, dns_names=names)
        turn.state.put(changed)
        endpoints.register(turn, changed)
    turn.tell_container("rename", renamed, oldName=f"/{container.name}")


def forget(turn: Turn, container: Container) -> None:
    """Drop a container that does not run, with everything the runtime holds of it."""
    _strip(turn, container)
    turn.state.drop(turn.state.containers[container.id])
    turn.say(Discard(container.id))
    turn.tell_container("destroy", container)


def _normal(core: Core, config: ContainerConfig) -> ContainerConfig:
    """Fill in what the user left out; raises ``Invalid`` for contradictions, with Docker's texts."""
    check_config(config)
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
        )
    return replace(config, network_mode=mode, endpoints=settings)


def _check_shared(config: ContainerConfig) -> None:
    asked = {
        "hostname and the network mode": config.hostname,
        "dns and the network mode": config.dns,
        "custom host-to-IP mapping and the network mode": config.extra_hosts,
        "port publishing and the container type network mode": config.ports or config.publish_all,
    }
    for what, given in asked.items():
        if given:
            raise Invalid(f"conflicting options: {what}", hint="the container that owns the network decides it")


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
    )
    turn.state.put(sandbox)
    turn.touch_sandbox(sandbox)
    for ref, settings in config.endpoints.items():
        network = turn.state.network(ref)
        current = turn.state.sandboxes[sandbox.id]
        endpoints.register(turn, endpoints.join(turn, current, container, network, settings))
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
        raise Internal("cannot join own network namespace")
    if not target.running:
        raise Conflict(
            f"cannot join network namespace of a non running container: container {target.name} is "
            f"{target.state.status}",
            hint=f"`fairlead start {target.name}` first",
        )
    if target.config.network_mode.startswith(SHARED):
        raise Invalid("cannot join network namespace of a container that itself shares one")
    if turn.state.sandbox_of(target.id) is None:
        raise NotFound(f"container {target.name} has no sandbox")
    return target


def _spec(core: Core, container: Container, files_of: str, netns: str, hostname: str) -> RunSpec:
    config = container.config
    folder = f"{core.paths.containers}/{files_of}"
    return RunSpec(
        container_id=container.id,
        image=config.image,
        args=(*config.entrypoint, *config.command),
        env=config.env,
        working_dir=config.working_dir,
        user=config.user,
        hostname=hostname,
        tty=config.tty,
        open_stdin=config.open_stdin,
        netns=f"{core.paths.netns}/{netns}" if netns else "",
        hosts=f"{folder}/hosts",
        resolv_conf=f"{folder}/resolv.conf",
        hostname_file=f"{folder}/hostname",
        binds=config.binds,
        read_only=config.read_only,
        stop_signal=config.stop_signal,
    )
