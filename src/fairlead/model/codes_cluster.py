"""The numbers of what can go wrong with a cluster; used as ``codes.NAME``, like all others."""

from __future__ import annotations

from fairlead.model.code import Code

# 2000: the cluster's certificates and records
TOKEN_INVALID = Code(
    2001,
    "this is no join token",
    "A join token begins with SWMTKN-1-, then comes the digest of the cluster's certificate authority (50 characters) "
    "and a secret (25 characters). A part of it may be missing from the line.",
    (
        "`fairlead swarm join-token worker` on a manager prints the whole command.",
        "`fairlead swarm join-token manager` prints the one for managers.",
    ),
)
TOKEN_REFUSED = Code(
    2002,
    "the join token is not valid any more, or of another cluster",
    "The token has the right form, but is neither the worker's nor the manager's token of this cluster. Tokens change "
    "when they are rotated and when the certificate authority is replaced; nodes that joined before are not touched.",
    ("`fairlead swarm join-token worker` on a manager prints the present one.",),
)
AUTHORITY_MISMATCH = Code(
    2003,
    "the manager's certificate authority is not the one in the token",
    "The digest in the join token does not fit the certificate that the manager sent: the address belongs to another "
    "cluster, the authority was replaced since the token was printed, or somebody stands in between. Nothing was sent.",
    (
        "Compare address and token with `fairlead swarm join-token worker` on a manager.",
        "Ask for a new token if the authority was replaced.",
    ),
)
CERTIFICATE_INVALID = Code(
    2004,
    "a certificate cannot be trusted",
    "It is no certificate, was not signed by this cluster's authority, does not belong to its key, or does not say "
    "which node it is for. The call was refused.",
    (
        "`fairlead node ls` on a manager shows the nodes that belong to the cluster.",
        "A node whose files were damaged leaves and joins again: `fairlead swarm leave --force`.",
    ),
)
CERTIFICATE_EXPIRED = Code(
    2005,
    "a certificate is outside its time",
    "Certificates of nodes are valid for the time that `swarm update --cert-expiry` says, and are renewed while the node "
    "reaches a manager. A node that was away for longer, or whose clock is wrong, is not believed.",
    (
        "`date` on both nodes shows whether a clock is wrong.",
        "A node that was away for too long joins again: `fairlead swarm leave --force`, then `fairlead swarm join`.",
    ),
)
OTHER_CLUSTER = Code(
    2006,
    "the certificate belongs to another cluster",
    "Each certificate names the cluster that it was made for, and each call is checked for it.",
    ("`fairlead info` on both nodes shows which cluster they belong to.",),
)
ROLE_REFUSED = Code(
    2007,
    "the role in the certificate does not allow this call",
    "Workers may only fetch what is meant for them; everything else is for managers.",
    ("`fairlead node promote NODE` on a manager makes a worker a manager.",),
)
NODE_REMOVED = Code(
    2008,
    "the node was removed from the cluster",
    "A manager removed the node; its certificate is refused by all from that moment on.",
    ("`fairlead swarm leave --force` on the node, then join again with a token.",),
)
SWARM_LOCKED = Code(
    2009,
    "the manager is locked",
    "With autolock, keys and records of a manager are sealed on disk, and are opened by the unlock key after each start. "
    "Containers, names and traffic go on meanwhile.",
    (
        "`fairlead swarm unlock` asks for the key.",
        "`fairlead swarm unlock-key` on another manager prints it.",
    ),
)
UNLOCK_KEY_INVALID = Code(
    2010,
    "this is not the unlock key",
    "An unlock key begins with SWMKEY-1-. It changes with `swarm unlock-key --rotate` and when autolock is switched on "
    "anew; a manager that was down meanwhile is opened by the key of that time.",
    ("`fairlead swarm unlock-key` on a manager that is not locked prints the present one.",),
)
REQUEST_INVALID = Code(
    2011,
    "a request for a certificate cannot be signed",
    "The request is damaged, has a key of another kind than P-256, or does not prove that the node has the keys that it "
    "names.",
    ("Join again: keys and request are made anew.",),
)
JOIN_REPLAYED = Code(
    2012,
    "a node with these keys is in the cluster already",
    "Each join makes keys of its own. A request with keys that a node has is a copy of an earlier one, or comes from a "
    "copied state directory.",
    (
        "On a cloned machine: `fairlead swarm leave --force`, then join again.",
        "`fairlead node ls` on a manager shows the node that has the keys.",
    ),
)
STORE_COMPACTED = Code(
    2013,
    "the changes since then are forgotten",
    "A reader of the cluster's changes asked for older ones than are kept. It reads everything anew and goes on from there.",
    ("Nothing has to be done; the reader helps itself.",),
)

# 2020: the cluster's managers
NODE_NOT_FOUND = Code(
    2020,
    "no such node",
    "No node of the cluster has this id or name.",
    ("`fairlead node ls` lists the nodes.",),
)
NODE_NOT_DOWN = Code(
    2021,
    "the node is still there",
    "A node is removed when it has left or is down, so that none goes on working without being known.",
    ("`fairlead swarm leave` on that node, then remove it.", "`fairlead node rm --force NODE` throws it out."),
)
NODE_IS_MANAGER = Code(
    2022,
    "the node is a manager",
    "A manager is made a worker before it is removed, and the last one cannot be.",
    ("`fairlead node demote NODE` first.", "`fairlead node promote OTHER` makes another manager."),
)
OUT_OF_SEQUENCE = Code(
    2023,
    "somebody else changed it meanwhile",
    "The request quotes a version of the object that is no longer the newest, so it might undo a change that its "
    "author has not seen.",
    ("Read the object again and repeat the change.",),
)
CLUSTER_SPEC_INVALID = Code(
    2024,
    "a setting of the cluster or of a node cannot be so",
    "A pool, port, period, role or availability is outside its range.",
    ("The message names the setting.",),
)
VNI_TAKEN = Code(
    2025,
    "that VXLAN network identifier cannot be used",
    "Each segment of each overlay network has a VNI of its own, a number up to 16777215.",
    ("Leave the option vxlanid_list out to have them chosen.",),
)
NODE_OUT = Code(
    2026,
    "the node is not part of the cluster",
    "The node was removed, or was never admitted; its certificate is worth nothing.",
    ("`fairlead swarm leave --force` on that node, then `fairlead swarm join` with a token.",),
)
ADDRESS_RESERVED = Code(
    2027,
    "a node that is away holds the address or network",
    "Each node keeps some addresses in reserve. One that is down cannot give them back, and may be using them.",
    ("Start that node again, or remove it: `fairlead node rm NODE`.",),
)

# 2040: a node's part in its cluster
GOSSIP_PORT = Code(
    2040,
    "the node cannot listen for the other nodes",
    "Nodes tell each other what is where over port 7946, TCP and UDP. Another program has it, or the address is not one "
    "of this host's.",
    ("`ss -lntup` shows who listens there.", "`fairlead swarm join --listen-addr ADDRESS` takes another address."),
)
NO_MANAGER = Code(
    2042,
    "no manager answers",
    "The node's own stock does not suffice for this, and a manager of the cluster must be asked. Containers, names and "
    "traffic go on without managers, and new containers too as long as the node has addresses in reserve.",
    (
        "`fairlead gossip peers` shows which nodes are there; start the daemon of a manager.",
        "The command can be tried again then: nothing was changed.",
    ),
)

# 2050: a node's place in the cluster
MANAGER_UNREACHABLE = Code(
    2050,
    "no manager answers",
    "The node tried the managers that it knows, and none could be reached over 2377/tcp, or none of them leads.",
    (
        "Is the daemon of a manager running: `fairlead node ls` there?",
        "Firewalls on the way must let 2377/tcp pass: `nc -z MANAGER 2377`.",
    ),
)
ALREADY_IN_SWARM = Code(
    2051,
    "the node is in a cluster already",
    "A node is a member of one cluster at a time. Nothing was changed.",
    ("`fairlead info` shows which.", "`fairlead swarm leave` on the node ends its membership."),
)
NOT_IN_SWARM = Code(
    2052,
    "the node is in no cluster",
    "The request is for members of a cluster, and this node is none.",
    ("`fairlead swarm init` makes a cluster.", "`fairlead swarm join` makes the node a member of one."),
)
ADDRESS_UNCLEAR = Code(
    2053,
    "an address of the node cannot be found out",
    "Other nodes need one address of this node. Several could be meant, none is there, or what was given is neither an "
    "address nor an interface.",
    (
        "`ip -brief address` lists interfaces and addresses.",
        "Name one: `fairlead swarm init --advertise-addr ADDRESS`, or an interface.",
    ),
)
MANAGER_LEAVES = Code(
    2054,
    "a manager does not leave without being forced to",
    "The node holds the cluster's records, or is one of those that pass requests on to the node that does. When the last "
    "manager leaves, the cluster is gone.",
    (
        "`fairlead node demote NODE` on another manager makes it a worker first.",
        "`fairlead swarm leave --force` leaves all the same.",
    ),
)

# 2100: services
SERVICE_NOT_FOUND = Code(
    2101,
    "there is no such service",
    "No service of the cluster has this id or name, or it is being removed.",
    ("`fairlead service ls` lists the services.",),
)
SERVICE_EXISTS = Code(
    2102,
    "a service of this name exists already",
    "Names of services are unique in a cluster: they are names on its networks.",
    (
        "`fairlead service ls` lists the services; choose another name.",
        "`fairlead service update` changes the present one.",
    ),
)
SERVICE_INVALID = Code(
    2103,
    "a service cannot be as it was asked for",
    "Something in the specification makes no sense, or not together with something else of it. Nothing was changed.",
    ("`fairlead service create --help` shows the options and their forms.",),
)
NO_PREVIOUS_SPEC = Code(
    2104,
    "there is nothing to roll back to",
    "A service is rolled back to the specification before its last update; this one was not updated since it was made, or "
    "was rolled back already.",
    ("`fairlead service inspect` shows the specification.",),
)
HTTP_MESH_OFF = Code(
    2105,
    "the HTTP mesh is not enabled",
    "No node of the cluster takes HTTP requests for services: nobody has switched that on, or it was switched off.",
    ("`fairlead http-mesh enable` switches it on for all nodes.",),
)
NO_ENCRYPTION = Code(
    2061,
    "the node cannot encrypt between nodes",
    "Encrypted overlay networks need ESP with AES-GCM in the kernel of each node that is in them. Here it is missing, or the "
    "node does not take part in the cluster yet. Nothing was made; no packet of the network left the node.",
    (
        "`modprobe -a esp4 esp6` loads what most kernels have as modules (CONFIG_INET_ESP); a daemon finds them in 10 seconds.",
        "On a kernel without them: leave out `--opt encrypted` and lead the links between the nodes through a VPN.",
    ),
)
NO_IPVS = Code(
    2062,
    "the kernel has no IPVS",
    "A network was to balance connections to its services by IPVS (fairlead.lb=ipvs), and the kernel of the leading manager has "
    "none. Nothing was made.",
    (
        "`modprobe -a ip_vs ip_vs_wrr` loads what most kernels have as modules (CONFIG_IP_VS); then restart the daemon.",
        "Without the option nftables balances, as fast and with the same result.",
    ),
)
KEYS_ROTATING = Code(
    2060,
    "keys are being rotated already",
    "New keys are on their way to the nodes. The next rotation begins when every living node has confirmed that it uses them.",
    (
        "`fairlead node ls` shows nodes that are away: after three missed heartbeats they are waited for no more.",
        "Then ask again.",
    ),
)
