"""Every kind of trouble that has a name of its own: a number that never changes its meaning, and what to do.

An error carries one of these (``NetError.code``); ``fairlead explain NUMBER`` and docs/errors.md print them. A number
is never used again for something else, and one that is no longer raised is marked ``retired``, not deleted.
"""

from __future__ import annotations

from fairlead.model.code import PREFIX as PREFIX
from fairlead.model.code import Code as Code
from fairlead.model.codes_cluster import ADDRESS_RESERVED as ADDRESS_RESERVED
from fairlead.model.codes_cluster import ADDRESS_UNCLEAR as ADDRESS_UNCLEAR
from fairlead.model.codes_cluster import ALREADY_IN_SWARM as ALREADY_IN_SWARM
from fairlead.model.codes_cluster import AUTHORITY_MISMATCH as AUTHORITY_MISMATCH
from fairlead.model.codes_cluster import CERTIFICATE_EXPIRED as CERTIFICATE_EXPIRED
from fairlead.model.codes_cluster import CERTIFICATE_INVALID as CERTIFICATE_INVALID
from fairlead.model.codes_cluster import CLUSTER_SPEC_INVALID as CLUSTER_SPEC_INVALID
from fairlead.model.codes_cluster import GOSSIP_PORT as GOSSIP_PORT
from fairlead.model.codes_cluster import HTTP_MESH_OFF as HTTP_MESH_OFF
from fairlead.model.codes_cluster import JOIN_REPLAYED as JOIN_REPLAYED
from fairlead.model.codes_cluster import KEYS_ROTATING as KEYS_ROTATING
from fairlead.model.codes_cluster import MANAGER_LEAVES as MANAGER_LEAVES
from fairlead.model.codes_cluster import MANAGER_UNREACHABLE as MANAGER_UNREACHABLE
from fairlead.model.codes_cluster import NO_ENCRYPTION as NO_ENCRYPTION
from fairlead.model.codes_cluster import NO_IPVS as NO_IPVS
from fairlead.model.codes_cluster import NO_MANAGER as NO_MANAGER
from fairlead.model.codes_cluster import NO_PREVIOUS_SPEC as NO_PREVIOUS_SPEC
from fairlead.model.codes_cluster import NODE_IS_MANAGER as NODE_IS_MANAGER
from fairlead.model.codes_cluster import NODE_NOT_DOWN as NODE_NOT_DOWN
from fairlead.model.codes_cluster import NODE_NOT_FOUND as NODE_NOT_FOUND
from fairlead.model.codes_cluster import NODE_OUT as NODE_OUT
from fairlead.model.codes_cluster import NODE_REMOVED as NODE_REMOVED
from fairlead.model.codes_cluster import NOT_IN_SWARM as NOT_IN_SWARM
from fairlead.model.codes_cluster import OTHER_CLUSTER as OTHER_CLUSTER
from fairlead.model.codes_cluster import OUT_OF_SEQUENCE as OUT_OF_SEQUENCE
from fairlead.model.codes_cluster import REQUEST_INVALID as REQUEST_INVALID
from fairlead.model.codes_cluster import ROLE_REFUSED as ROLE_REFUSED
from fairlead.model.codes_cluster import SERVICE_EXISTS as SERVICE_EXISTS
from fairlead.model.codes_cluster import SERVICE_INVALID as SERVICE_INVALID
from fairlead.model.codes_cluster import SERVICE_NOT_FOUND as SERVICE_NOT_FOUND
from fairlead.model.codes_cluster import STORE_COMPACTED as STORE_COMPACTED
from fairlead.model.codes_cluster import SWARM_LOCKED as SWARM_LOCKED
from fairlead.model.codes_cluster import TOKEN_INVALID as TOKEN_INVALID
from fairlead.model.codes_cluster import TOKEN_REFUSED as TOKEN_REFUSED
from fairlead.model.codes_cluster import UNLOCK_KEY_INVALID as UNLOCK_KEY_INVALID
from fairlead.model.codes_cluster import VNI_TAKEN as VNI_TAKEN
from fairlead.model.codes_http import HAPROXY_FAILED as HAPROXY_FAILED
from fairlead.model.codes_http import HAPROXY_MISSING as HAPROXY_MISSING
from fairlead.model.codes_http import HTTP_LABEL_INVALID as HTTP_LABEL_INVALID
from fairlead.model.codes_http import HTTP_ROUTE_TAKEN as HTTP_ROUTE_TAKEN

#: Codes below this number only name a class of errors and tell no more than the message.
NARROW_FROM = 1100


# 1000: what has no narrower code
INVALID = Code(
    1000,
    "the request is malformed",
    "Something in the request cannot be understood, or contradicts itself. Nothing was changed.",
    (
        "The message names the field and the value.",
        "`fairlead network create --help` and the like show what is allowed.",
    ),
)
AMBIGUOUS = Code(
    1001,
    "a reference fits several objects",
    "A name or the beginning of an identifier was given, and more than one object has it. Nothing was changed.",
    (
        "Write more characters of the identifier, or the name.",
        "`fairlead network ls --no-trunc` shows whole identifiers.",
    ),
)
FORBIDDEN = Code(
    1002,
    "not allowed as things stand",
    "The request was understood, but the state of the node or a rule does not allow it. Nothing was changed.",
    ("The message says which rule.",),
)
NOT_FOUND = Code(
    1003,
    "something named is not there",
    "The request names an object that does not exist, or no longer does.",
    ("`fairlead network ls` and `fairlead ps --all` list what is there.",),
)
CONFLICT = Code(
    1004,
    "exists already, or is busy",
    "An object of that name exists, or is being changed by somebody else at this moment. Nothing was changed.",
    ("Choose another name, or try again when the other change is done.", "`fairlead events` shows what goes on."),
)
INTERNAL = Code(
    1005,
    "a part that Fairlead relies on failed",
    "The kernel, the disk or the container runtime refused something that should have worked. What had been done "
    "was undone.",
    ("The daemon's log has the details: `journalctl -u fairlead`.", "`fairlead info` shows warnings about this host."),
)
NOT_IMPLEMENTED = Code(
    1006,
    "Docker has it, Fairlead has not",
    "The request uses a part of Docker's interface that this version does not offer. Nothing was changed.",
    ("Leave the option out; the message names it.",),
)
EXHAUSTED = Code(
    1007,
    "nothing is left to give",
    "No address, subnet or port is free where one was to be chosen.",
    ("Remove what is no longer needed, or give more room; the message says of what.",),
)
UNAVAILABLE = Code(
    1008,
    "a needed part does not answer",
    "A program that the request needs is not running or does not answer in time.",
    ("Start it, then try again.",),
)

# 1100: networks
NETWORK_NOT_FOUND = Code(
    1101,
    "no such network",
    "No network has this name or identifier. A container that was stopped may still name a network that has been "
    "removed since; a new network of the same name is another network.",
    ("`fairlead network ls` lists the networks.", "`fairlead network create NAME` makes one."),
)
NETWORK_EXISTS = Code(
    1102,
    "a network of that name exists",
    "Names of networks are unique on a node, whoever made them and however many ask at once.",
    (
        "`fairlead network inspect NAME` shows the one that has it.",
        "Choose another name, or `fairlead network rm NAME`.",
    ),
)
NETWORK_PREDEFINED = Code(
    1103,
    "bridge, host and none belong to the node",
    "The networks bridge, host and none exist from the first start and can be neither made nor removed.",
    ("Choose another name: `fairlead network create web`.",),
)
NETWORK_IN_USE = Code(
    1104,
    "the network has endpoints",
    "Somebody is connected to the network; removing it would cut them off. The message lists who.",
    (
        "`fairlead network disconnect NETWORK CONTAINER` detaches one.",
        "`fairlead network disconnect --force NETWORK NAME` detaches an endpoint whose container is gone.",
    ),
)
NAME_INVALID = Code(
    1105,
    "a name has characters that names may not have",
    "Names become parts of paths, device names, firewall sets and DNS names, so they consist of letters, digits, "
    "underscore, dot and hyphen, and begin with a letter or digit.",
    ("Choose another name.",),
)
DRIVER_NOT_FOUND = Code(
    1106,
    "no such driver",
    "No network driver or address driver of that name is built in or registered as a plugin.",
    ("`fairlead info` lists the drivers of this node.",),
)
DEVICE_CLAIMED = Code(
    1107,
    "another network has that device",
    "Two networks would share one bridge device or one subnet, and their traffic could not be told apart.",
    ("Remove the other network, or choose another device name or subnet.",),
)
OPTION_INVALID = Code(
    1108,
    "an option has a value that it cannot have",
    "An option of the driver or of an endpoint was given a value of the wrong type or outside its range.",
    ("The message names the option and the value; the hint says what is allowed.",),
)
NOT_A_MANAGER = Code(
    1109,
    "this node is not a manager",
    "Networks of the whole cluster are made by managers, and this node is none.",
    ("Run the command on a manager, or make a network of this node only: leave --scope out.",),
)
CONFIG_ONLY = Code(
    1110,
    "a set of settings cannot be used so",
    "A network made with --config-only holds settings for others: it has no subnet in use and no endpoints, and cannot "
    "be removed while a network refers to it.",
    ("`fairlead network ls` lists the networks.", "`fairlead network create --config-from SETTINGS web` uses it."),
)
NOT_ATTACHABLE = Code(
    1111,
    "the network takes services only",
    "A network of the cluster that was made without --attachable is for the tasks of services; single containers cannot "
    "be connected to it.",
    ("Make one that both may use: `fairlead network create --driver overlay --attachable NAME`.",),
)

# 1200: subnets and addresses
SUBNET_INVALID = Code(
    1201,
    "a subnet, range, gateway or address does not fit",
    "The subnets of a network contradict themselves: bits behind the prefix, a gateway or range outside its subnet, "
    "or families mixed.",
    ("The message lists every fault at once; write prefixes like 10.9.0.0/24 or fd00:9::/64.",),
)
SUBNET_TAKEN = Code(
    1202,
    "the subnet overlaps another network's",
    "Every subnet belongs to one network, else addresses would be given twice.",
    (
        "`fairlead network inspect NAME` shows a network's subnets.",
        "Choose another subnet, or none to have one chosen.",
    ),
)
POOLS_EXHAUSTED = Code(
    1203,
    "no default subnet is free",
    "Every subnet of the default address pools is held by a network or overlaps a route or address of this host.",
    (
        "`fairlead network prune` removes networks that nobody uses.",
        "Name a subnet: `fairlead network create --subnet 10.77.0.0/24 web`.",
        "Start the daemon with more or smaller pools: `--default-address-pool base=10.64.0.0/12,size=24`.",
    ),
)
ADDRESSES_EXHAUSTED = Code(
    1204,
    "the network has no free address",
    "All addresses of the network's subnets (or of its --ip-range) are held, reserved, or resting after their last use.",
    (
        "`fairlead network inspect NETWORK` shows how many are in use.",
        "Remove containers, or make a network with a larger subnet.",
    ),
)
ADDRESS_TAKEN = Code(
    1205,
    "the address is taken",
    "Another endpoint, the gateway, an auxiliary address or a stopped container's fixed address holds it.",
    ("`fairlead network inspect NETWORK` shows who has which address.", "Choose another address, or none."),
)
ADDRESS_OUTSIDE = Code(
    1206,
    "the address is outside the network's subnets",
    "A fixed address must lie in a subnet of its network, and be one of this kind of network.",
    ("`fairlead network inspect NETWORK` shows the subnets.",),
)
ADDRESS_INVALID = Code(
    1207,
    "this is no address",
    "An IP or MAC address is mistyped, has a zone or a length where none belongs, or is of the wrong family.",
    ("Write addresses like 10.9.0.2, fd00:9::2 or 02:42:ac:11:00:02.",),
)

# 1300: endpoints
ALREADY_CONNECTED = Code(
    1301,
    "connected already",
    "A container has at most one endpoint in a network; to change its settings it is disconnected first.",
    ("`fairlead network disconnect NETWORK CONTAINER`, then connect it again.",),
)
MODES_CONFLICT = Code(
    1302,
    "these network modes cannot be mixed",
    "The modes host, none and container:NAME give a container somebody else's network, or no network; then it cannot "
    "have networks of its own.",
    ("Make the container again with networks of its own: `fairlead run --network web host sh`.",),
)
NOT_CONNECTED = Code(
    1303,
    "not connected to that network",
    "There is nothing to disconnect: the container has no endpoint in this network.",
    ("`fairlead inspect CONTAINER` shows its networks.",),
)
INTERFACE_TAKEN = Code(
    1304,
    "the interface name cannot be used",
    "The name asked for is used in that container, is too long for Linux (15 characters), or means something else.",
    ("Choose another name, or none to have one chosen.",),
)
DNS_INVALID = Code(
    1305,
    "a name server, host line or resolver option cannot be used",
    "Name servers are addresses, host lines are NAME:IP, and options are those of resolv.conf(5).",
    ("`fairlead run --help` shows the options --dns, --dns-search, --dns-option and --add-host.",),
)

# 1400: published ports
PORT_TAKEN = Code(
    1401,
    "another container publishes that port",
    "A port of the host leads to one container only.",
    ("`fairlead ps` shows published ports.", "Choose another port of the host, or stop the other container."),
)
PORT_TAKEN_BY_PROGRAM = Code(
    1402,
    "a program of the host has that port",
    "The port is bound by a process of the host, which would no longer be reached if it were published.",
    ("`ss -lntup` shows which program has it.", "Choose another port, or publish on one address: `-p 10.0.0.5:80:80`."),
)
PORTS_EXHAUSTED = Code(
    1403,
    "no free port is left",
    "Every port of the range asked for, or of the host's range for automatic ports, is taken.",
    ("`sysctl net.ipv4.ip_local_port_range` shows the automatic range.", "Ask for another range."),
)
PORT_INVALID = Code(
    1404,
    "this is no port to publish",
    "A port is a number from 1 to 65535, a range has the same length on both sides, the protocol is tcp, udp or sctp, "
    "and the host address is one that this host has.",
    ("Write it like `-p 8080:80`, `-p 127.0.0.1:8080:80/tcp` or `-p 8000-8010:8000-8010/udp`.",),
)

# 1500: containers and images
CONTAINER_NOT_FOUND = Code(
    1501,
    "no such container",
    "No container has this name or identifier.",
    ("`fairlead ps --all` lists the containers.",),
)
CONTAINER_NAME_TAKEN = Code(
    1502,
    "a container of that name exists",
    "Names of containers are unique on a node; stopped containers keep theirs.",
    ("`fairlead rm NAME` removes it, `fairlead rename NAME OTHER` gives it another name.",),
)
CONTAINER_RUNNING = Code(
    1503,
    "the container runs",
    "What was asked is only possible with a container that does not run.",
    ("`fairlead stop NAME` first, or `fairlead rm --force NAME`.",),
)
CONTAINER_NOT_RUNNING = Code(
    1504,
    "the container does not run",
    "What was asked is only possible with a running container.",
    ("`fairlead start NAME` starts it; `fairlead logs NAME` may say why it ended.",),
)
CONTAINER_BUSY = Code(
    1505,
    "the container is being started or removed",
    "Another request about the same container is not finished yet.",
    ("Try again in a moment; `fairlead events` shows what goes on.",),
)
OPTIONS_CONFLICT = Code(
    1506,
    "these options exclude each other",
    "Two options of the request cannot both be met.",
    ("Leave one of them out; the message names both.",),
)
START_FAILED = Code(
    1507,
    "the container's program could not be started",
    "The runtime could not execute the command: it is not in the image, not executable, or a mount or limit failed.",
    ("`fairlead inspect NAME` shows what was to run.", "Try the image by hand: `fairlead run --rm -i -t IMAGE sh`."),
)
IMAGE_NOT_FOUND = Code(
    1508,
    "no such image",
    "An image is `host`, a directory that holds a root file system, or the name of one that was imported.",
    ("`fairlead image ls` lists the imported ones.", "`fairlead image import NAME rootfs.tar` imports one."),
)
IMAGE_INVALID = Code(
    1509,
    "the image cannot be imported or changed so",
    "The archive is no tar archive of a root file system, a change is none that is known, or the name means "
    "something else.",
    ("`fairlead image import --help` shows what is accepted.",),
)
LIMIT_INVALID = Code(
    1510,
    "a limit, policy or setting of the container cannot be met",
    "The value is outside its range, contradicts another one, or cannot be had in a container.",
    ("The message names the setting and its range.", "`fairlead run --help` lists them all."),
)
MOUNT_INVALID = Code(
    1511,
    "this cannot be mounted",
    "A mount has a source, an absolute target inside the container, and options that are known; each target once.",
    ("Write it like `-v /srv/data:/data:ro`, `-v name:/data` or `--mount type=bind,source=/srv/data,target=/data`.",),
)
VOLUME_NOT_FOUND = Code(
    1512,
    "no such volume",
    "No volume has this name, or its driver does not exist here.",
    ("`fairlead run -v NAME:/data host sh` makes a volume at its first use.",),
)
USER_NOT_FOUND = Code(
    1513,
    "the image has no such user or group",
    "Names of users and groups are looked up in the image's own /etc/passwd and /etc/group.",
    ("Give numbers instead: `--user 1000:1000`.",),
)
EXEC_NOT_FOUND = Code(
    1514,
    "no such exec",
    "The identifier of a command beside a container is unknown; it is forgotten with its container.",
    ("`fairlead exec NAME COMMAND` makes a new one.",),
)
PROGRAM_MISSING = Code(
    1515,
    "a program that runs containers is missing",
    "Containers are run by runc and watched by conmon, which were not found.",
    ("`apt-get install runc conmon` installs them.",),
)

# 1600: namespaces of others
TARGET_INVALID = Code(
    1601,
    "this does not name a network namespace",
    "A target is a container of ours, or `pid:N`, `netns:PATH`, `docker:NAME` or `podman:NAME`.",
    ("`ip netns list` shows named namespaces, `lsns -t net` all of them.",),
)
TARGET_NOT_FOUND = Code(
    1602,
    "the target is not there",
    "The process has ended, the path holds no namespace, or that engine has no such container.",
    ("`docker ps` or `podman ps` shows running containers, `lsns -t net` all network namespaces.",),
)
TARGET_REFUSED = Code(
    1603,
    "this namespace cannot be connected so",
    "The namespace is the host's own, or belongs to a container of ours that has a name of its own, or the network "
    "is one that only containers can have.",
    ("`fairlead sandbox ls` lists connected namespaces.", "Use the container's name instead of its process."),
)
TARGET_BUSY = Code(
    1604,
    "the target is changing or taken",
    "The container is being restarted again and again, or another daemon has its namespace.",
    ("Try again when it runs quietly.",),
)
ENGINE_UNREACHABLE = Code(
    1605,
    "the other engine does not answer",
    "Docker's socket or the podman program could not be asked about the container.",
    ("`docker ps` or `podman ps` shows whether it works.", "Name the process instead: `pid:N`."),
)

# 1700: the daemon
DAEMON_UNREACHABLE = Code(
    1701,
    "no daemon answers",
    "Nothing listens at the socket, or you may not open it.",
    (
        "`systemctl status fairlead` shows whether it runs; `fairlead daemon` starts one by hand.",
        "The socket belongs to root; use sudo.",
        "FAIRLEAD_HOST or --host may point at another place.",
    ),
)
DAEMON_RUNS_ALREADY = Code(
    1702,
    "another daemon uses this directory",
    "Only one daemon may own a state directory and a socket.",
    ("Stop the other one, or give `--state-dir` and `--run-dir`.",),
)
BODY_INVALID = Code(
    1703,
    "the request is not the JSON that the API wants",
    "The body is no JSON, or a field has the wrong type.",
    ("The message names the field; compare it with the Engine API's reference.",),
)
VERSION_UNSUPPORTED = Code(
    1704,
    "this API version is not spoken",
    "The client asks for a version of the Engine API that is older or newer than what the daemon speaks.",
    ("Set DOCKER_API_VERSION to a version in the range that the message names.",),
)
STORE_FAILED = Code(
    1705,
    "the records cannot be read or written",
    "The state directory is full, read-only, damaged, or written by a newer version. Nothing was changed.",
    ("`df -h /var/lib/fairlead` shows the room left.", "The message has SQLite's own words."),
)
FAULT = Code(
    1706,
    "a fault in Fairlead itself",
    "The daemon met something that its authors did not foresee. What had been done was undone, and the daemon goes on.",
    ("The daemon's log has the trace: `journalctl -u fairlead`.", "Please report it."),
)
FILTER_INVALID = Code(
    1707,
    "this filter is not known here",
    "Each list has its own filters, and some filters have only certain values.",
    ("The message names the filter; the help of the command lists them: `fairlead ps --help`.",),
)
PRUNE_BUSY = Code(
    1708,
    "another prune is at work",
    "Only one prune of a kind runs at a time.",
    ("Wait for it to end; `fairlead events` shows when.",),
)
CALL_UNKNOWN = Code(
    1709,
    "the API has no such call",
    "The path or the method is none that this daemon answers.",
    ("GET /fairlead/openapi.json describes every call.",),
)
SOCKET_FAILED = Code(
    1710,
    "the daemon cannot listen at its socket",
    "The directory is missing or read-only, or the path is longer than a Unix socket's may be.",
    ("Give another directory: `fairlead daemon --run-dir /run/fairlead`.",),
)

# 1800: the kernel
KERNEL_REFUSED = Code(
    1801,
    "Linux refused a change",
    "The kernel did not accept a link, address, route or rule. What had been done for this request was undone.",
    ("The message has the kernel's words and the object.", "`fairlead info` shows what this kernel lacks."),
)

# 1900: the command line and the lab
FLAG_INVALID = Code(
    1901,
    "an option on the command line is written wrongly",
    "The option's value has a form that is not understood; nothing was asked of the daemon.",
    ("`fairlead run --help` and the like show the forms.",),
)
TEMPLATE_INVALID = Code(
    1902,
    "the template after --format has a fault",
    "Templates are Go's: fields like {{.Name}}, functions like {{json .}}, if, range and with up to {{end}}.",
    ("`fairlead network ls --format json` shows all fields.",),
)
LAB = Code(
    1903,
    "the lab cannot be made or used so",
    "A lab is made of network namespaces, needs root, and has the hosts that it was started with.",
    ("`fairlead lab status` shows what stands; `fairlead lab up --hosts 3` makes one.",),
)


def catalogue() -> tuple[Code, ...]:
    """Every code, by number."""
    return tuple(sorted(value for value in globals().values() if isinstance(value, Code)))


def find(text: str) -> Code | None:
    """The code of ``fairlead-1101`` or ``1101``, None when there is none."""
    number = text.strip().lower().removeprefix(PREFIX)
    return next((code for code in catalogue() if str(code.number) == number), None)
