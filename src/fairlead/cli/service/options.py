"""The flags of ``service create`` and ``service update``: what is said once, and what is a list."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click

Option = Callable[[Callable[..., object]], Callable[..., object]]

_SPAN, _SIZE = "SPAN", "SIZE"


def _rule(kind: str, *, actions: str) -> tuple[Option, ...]:
    """The flags of an update's or rollback's rule."""
    return (
        click.option(f"--{kind}-parallelism", type=click.IntRange(0), help="Tasks exchanged at a time; 0: all."),
        click.option(f"--{kind}-delay", metavar=_SPAN, help="Pause after each."),
        click.option(f"--{kind}-monitor", metavar=_SPAN, help="How long an exchanged task is watched (5s)."),
        click.option(f"--{kind}-order", metavar="start-first|stop-first", help="What comes first (stop-first)."),
        click.option(f"--{kind}-failure-action", metavar=actions, help="What follows a failure (pause)."),
        click.option(f"--{kind}-max-failure-ratio", type=float, help="How many may fail, from 0 to 1 (0)."),
    )


#: Flags of one value, which both commands have; None when they are not given.
SINGLE: tuple[Option, ...] = (
    click.option("--endpoint-mode", metavar="vip|dnsrr", help="One virtual address, or those of the tasks."),
    click.option("--entrypoint", metavar="WORDS", help="What the command's words are given to."),
    click.option("--health-cmd", metavar="TEXT", help="Ask for a task's health by this command."),
    click.option("--health-interval", metavar=_SPAN, help="Time between two questions (30s)."),
    click.option("--health-timeout", metavar=_SPAN, help="Time for an answer (30s)."),
    click.option("--health-retries", type=int, help="Failures that make it unhealthy (3)."),
    click.option("--health-start-period", metavar=_SPAN, help="Failures do not count at first."),
    click.option("--health-start-interval", metavar=_SPAN, help="Time between questions then (5s)."),
    click.option("--no-healthcheck/--healthcheck", default=None, help="Never ask, whatever the image says."),
    click.option("--hostname", help="The containers' own name."),
    click.option("--init/--no-init", default=None, help="Put a program before it that reaps processes."),
    click.option("--isolation", metavar="default", help="For other systems; nothing here.", hidden=True),
    click.option("--limit-cpu", type=float, help="Most CPUs of a task."),
    click.option("--limit-memory", metavar=_SIZE, help="Most memory of a task."),
    click.option("--limit-pids", type=int, help="Most processes of a task; 0: no limit."),
    click.option("--log-driver", metavar="NAME", help="json-file."),
    click.option("--oom-score-adj", type=int, help="Who goes first when memory is out."),
    click.option("--read-only/--no-read-only", default=None, help="Let nothing write to the root file system."),
    click.option("--replicas", type=click.IntRange(0), help="Number of tasks (1)."),
    click.option("--replicas-max-per-node", type=click.IntRange(0), help="Most of them on one node; 0: no bound."),
    click.option("--reserve-cpu", type=float, help="CPUs that its node must have free."),
    click.option("--reserve-memory", metavar=_SIZE, help="Memory that its node must have free."),
    click.option("--restart-condition", metavar="none|on-failure|any", help="When an ended task is replaced (any)."),
    click.option("--restart-delay", metavar=_SPAN, help="Pause before that (5s)."),
    click.option("--restart-max-attempts", type=click.IntRange(0), help="Most replacements; 0: no bound."),
    click.option("--restart-window", metavar=_SPAN, help="In which they are counted."),
    *_rule("update", actions="pause|continue|rollback"),
    *_rule("rollback", actions="pause|continue"),
    click.option("--stop-grace-period", metavar=_SPAN, help="Patience of a stop (10s)."),
    click.option("--stop-signal", metavar="SIGNAL", help="The signal of a stop (SIGTERM)."),
    click.option("-t", "--tty/--no-tty", default=None, help="Give it a terminal."),
    click.option("-u", "--user", metavar="USER[:GROUP]", help="Who it runs as."),
    click.option("-w", "--workdir", metavar="PATH", help="Where it starts."),
    click.option("--cap-add", multiple=True, metavar="CAP", help="A capability more; ALL."),
    click.option("--cap-drop", multiple=True, metavar="CAP", help="A capability less; ALL."),
    click.option("--log-opt", "log_options", multiple=True, metavar="K=V", help="max-size=10m, max-file=2."),
    click.option(
        "--ip",
        "addresses",
        multiple=True,
        metavar="IP|IP-IP",
        help="Addresses in the first network for slots 1, 2, …: a list or a range.",
    ),
    click.option("--with-registry-auth", is_flag=True, help="Nothing: there is no registry.", hidden=True),
    click.option("--no-resolve-image", is_flag=True, help="Nothing: there is no registry.", hidden=True),
)

#: Lists: (name of the flag, what it takes, help). ``create`` has them as they are, ``update`` with -add and -rm.
LISTS: tuple[tuple[str, str, str], ...] = (
    ("config", "NAME", "Not implemented."),
    ("constraint", "TEXT", "Where tasks may run: node.labels.disk==ssd."),
    ("container-label", "K[=V]", "A label of the containers."),
    ("dns", "IP", "A name server."),
    ("dns-option", "TEXT", "An option of the resolver."),
    ("dns-search", "DOMAIN", "A domain to search."),
    ("env", "K[=V]", "A variable; without = yours is handed on."),
    ("generic-resource", "TEXT", "Not implemented."),
    ("group", "GROUP", "Another group of its user."),
    ("host", "NAME:IP", "A line for /etc/hosts."),
    ("label", "K[=V]", "A label of the service."),
    ("mount", "type=T,src=S,dst=D", "A mount."),
    ("network", "NET", "A network: NET, or name=NET,alias=A,ip=IP-IP."),
    ("placement-pref", "spread=LABEL", "Spread tasks over a label's values."),
    ("publish", "[PUBLISHED:]TARGET", "A port: short, or published=P,target=T,mode=host,host_ip=IP."),
    ("secret", "NAME", "Not implemented."),
    ("sysctl", "NAME=VALUE", "A setting of its own kernel part."),
    ("ulimit", "NAME=SOFT[:HARD]", "A limit of each process."),
)
_SHORT = {"env": ("-e",), "label": ("-l",), "publish": ("-p",)}

#: How long a command shows progress.
WAITING: tuple[Option, ...] = (
    click.option("-d", "--detach/--no-detach", default=False, help="Do not wait until the tasks are stable."),
    click.option("-q", "--quiet", is_flag=True, help="Show no progress."),
)


def create_lists() -> Iterable[Option]:
    """The lists as ``create`` has them."""
    for name, value, words in LISTS:
        yield click.option(*_SHORT.get(name, ()), f"--{name}", _dest(name), multiple=True, metavar=value, help=words)
    yield click.option("--env-file", multiple=True, metavar="FILE", help="Variables, one on each line.")


def update_lists() -> Iterable[Option]:
    """The lists as ``update`` has them."""
    for name, value, words in LISTS:
        added = [f"--{name}-add", f"{_dest(name)}_add"]
        yield click.option(*added, multiple=True, metavar=value, help=words)
        yield click.option(f"--{name}-rm", f"{_dest(name)}_rm", multiple=True, metavar=value, help="One less of it.")


def _dest(name: str) -> str:
    return name.replace("-", "_")
