"""Every command: name, module, line of help. To add one, add a line here and a module with ``command`` in it."""

from __future__ import annotations

from fairlead.cli.lazy import Entry

_HERE = "fairlead.cli"

NETWORK = {
    "create": Entry(f"{_HERE}.network.create", "Create a network"),
    "ls": Entry(f"{_HERE}.network.ls", "List networks"),
    "list": Entry(f"{_HERE}.network.ls", "List networks", hidden=True),
    "inspect": Entry(f"{_HERE}.network.inspect", "Show everything about networks"),
    "connect": Entry(f"{_HERE}.network.connect", "Connect a container to a network"),
    "disconnect": Entry(f"{_HERE}.network.disconnect", "Disconnect a container from a network"),
    "prune": Entry(f"{_HERE}.network.prune", "Remove all networks that nobody uses"),
    "update": Entry(f"{_HERE}.network.update", "Give a network of the cluster more subnets"),
    "rm": Entry(f"{_HERE}.network.rm", "Remove networks"),
    "remove": Entry(f"{_HERE}.network.rm", "Remove networks", hidden=True),
}

_CONTAINER_VERBS = {
    "run": Entry(f"{_HERE}.container.run", "Create a container and start it"),
    "create": Entry(f"{_HERE}.container.create", "Create a container"),
    "start": Entry(f"{_HERE}.container.start", "Start containers"),
    "stop": Entry(f"{_HERE}.container.stop", "Stop containers"),
    "restart": Entry(f"{_HERE}.container.restart", "Restart containers"),
    "kill": Entry(f"{_HERE}.container.kill", "Send containers a signal"),
    "rm": Entry(f"{_HERE}.container.rm", "Remove containers"),
    "rename": Entry(f"{_HERE}.container.rename", "Rename a container"),
    "exec": Entry(f"{_HERE}.container.exec", "Run a command in a running container"),
    "attach": Entry(f"{_HERE}.container.attach", "Join a running container's input and output"),
    "logs": Entry(f"{_HERE}.container.logs", "Show a container's output"),
    "wait": Entry(f"{_HERE}.container.wait", "Wait until containers end; print their exit codes"),
    "port": Entry(f"{_HERE}.container.port", "Show a container's published ports"),
    "pause": Entry(f"{_HERE}.container.pause", "Stop the clock of containers"),
    "unpause": Entry(f"{_HERE}.container.unpause", "Let paused containers go on"),
    "update": Entry(f"{_HERE}.container.update", "Change limits and restart policy of containers"),
    "stats": Entry(f"{_HERE}.container.stats", "Show what containers use"),
    "top": Entry(f"{_HERE}.container.top", "Show the processes of a container"),
    "cp": Entry(f"{_HERE}.container.cp", "Copy files into a container, or out of it"),
    "export": Entry(f"{_HERE}.container.export", "Write a container's root file system as a tar archive"),
}

CONTAINER = {
    **_CONTAINER_VERBS,
    "ls": Entry(f"{_HERE}.container.ls", "List containers"),
    "ps": Entry(f"{_HERE}.container.ls", "List containers", hidden=True),
    "list": Entry(f"{_HERE}.container.ls", "List containers", hidden=True),
    "inspect": Entry(f"{_HERE}.container.inspect", "Show everything about containers"),
    "prune": Entry(f"{_HERE}.container.prune", "Remove all containers that do not run"),
}

SANDBOX = {
    "ls": Entry(f"{_HERE}.sandbox.ls", "List sandboxes without a container"),
    "list": Entry(f"{_HERE}.sandbox.ls", "List sandboxes without a container", hidden=True),
    "inspect": Entry(f"{_HERE}.sandbox.inspect", "Show everything about such sandboxes"),
    "rm": Entry(f"{_HERE}.sandbox.rm", "Disconnect such sandboxes from everything"),
    "remove": Entry(f"{_HERE}.sandbox.rm", "Disconnect such sandboxes from everything", hidden=True),
}

IMAGE = {
    "import": Entry(f"{_HERE}.image.add", "Import a root file system from a tar archive"),
    "ls": Entry(f"{_HERE}.image.ls", "List imported root file systems"),
    "rm": Entry(f"{_HERE}.image.rm", "Remove images"),
    "inspect": Entry(f"{_HERE}.image.inspect", "Show everything about images"),
    "tag": Entry(f"{_HERE}.image.tag", "Give an image another name"),
    "prune": Entry(f"{_HERE}.image.prune", "Remove images that nobody uses"),
}

VOLUME = {
    "create": Entry(f"{_HERE}.volume.create", "Create a volume"),
    "ls": Entry(f"{_HERE}.volume.ls", "List volumes"),
    "inspect": Entry(f"{_HERE}.volume.inspect", "Show everything about volumes"),
    "rm": Entry(f"{_HERE}.volume.rm", "Remove volumes"),
    "prune": Entry(f"{_HERE}.volume.prune", "Remove volumes that nobody uses"),
}

SWARM = {
    "init": Entry(f"{_HERE}.swarm.init", "Make a cluster with this node as its manager"),
    "join": Entry(f"{_HERE}.swarm.join", "Make this node a member of a cluster"),
    "join-token": Entry(f"{_HERE}.swarm.join_token", "Show how nodes join, or replace a join token"),
    "leave": Entry(f"{_HERE}.swarm.leave", "End this node's membership"),
    "update": Entry(f"{_HERE}.swarm.update", "Change the cluster"),
    "ca": Entry(f"{_HERE}.swarm.ca", "Show the cluster's root certificate, or replace it"),
    "unlock": Entry(f"{_HERE}.swarm.unlock", "Open this node's records of the cluster"),
    "unlock-key": Entry(f"{_HERE}.swarm.unlock_key", "Show the unlock key, or replace it"),
    "rotate-keys": Entry(f"{_HERE}.swarm.rotate_keys", "Replace the keys that nodes share"),
}

NODE = {
    "ls": Entry(f"{_HERE}.node.ls", "List nodes"),
    "list": Entry(f"{_HERE}.node.ls", "List nodes", hidden=True),
    "inspect": Entry(f"{_HERE}.node.inspect", "Show everything about nodes"),
    "ps": Entry(f"{_HERE}.node.ps", "List the tasks on nodes"),
    "update": Entry(f"{_HERE}.node.update", "Change a node"),
    "promote": Entry(f"{_HERE}.node.promote", "Make nodes managers"),
    "demote": Entry(f"{_HERE}.node.demote", "Make managers workers"),
    "rm": Entry(f"{_HERE}.node.rm", "Remove nodes from the cluster"),
    "remove": Entry(f"{_HERE}.node.rm", "Remove nodes from the cluster", hidden=True),
}

SERVICE = {
    "create": Entry(f"{_HERE}.service.create", "Create a service"),
    "ls": Entry(f"{_HERE}.service.ls", "List services"),
    "list": Entry(f"{_HERE}.service.ls", "List services", hidden=True),
    "ps": Entry(f"{_HERE}.service.ps", "List the tasks of services"),
    "inspect": Entry(f"{_HERE}.service.inspect", "Show everything about services"),
    "logs": Entry(f"{_HERE}.service.logs", "Show the output of a service or task"),
    "scale": Entry(f"{_HERE}.service.scale", "Set the number of tasks of services"),
    "update": Entry(f"{_HERE}.service.update", "Change a service"),
    "rollback": Entry(f"{_HERE}.service.rollback", "Go back to the spec before the last update"),
    "rm": Entry(f"{_HERE}.service.rm", "Remove services"),
    "remove": Entry(f"{_HERE}.service.rm", "Remove services", hidden=True),
}

STACK = {
    "deploy": Entry(f"{_HERE}.stack.deploy", "Make or change a stack as Compose files say"),
    "up": Entry(f"{_HERE}.stack.deploy", "Make or change a stack as Compose files say", hidden=True),
    "config": Entry(f"{_HERE}.stack.config", "Show Compose files as they are understood"),
    "ls": Entry(f"{_HERE}.stack.ls", "List stacks"),
    "list": Entry(f"{_HERE}.stack.ls", "List stacks", hidden=True),
    "ps": Entry(f"{_HERE}.stack.ps", "List the tasks of a stack"),
    "services": Entry(f"{_HERE}.stack.services_of", "List the services of a stack"),
    "rm": Entry(f"{_HERE}.stack.rm", "Remove stacks"),
    "remove": Entry(f"{_HERE}.stack.rm", "Remove stacks", hidden=True),
    "down": Entry(f"{_HERE}.stack.rm", "Remove stacks", hidden=True),
}

GOSSIP = {
    "status": Entry(f"{_HERE}.gossip.status", "Show how this node takes part"),
    "peers": Entry(f"{_HERE}.gossip.peers", "List the other nodes as this one sees them"),
    "table": Entry(f"{_HERE}.gossip.show_table", "List what is said in a network"),
}

HTTP_MESH = {
    "enable": Entry(f"{_HERE}.http_mesh.enable", "Have the mesh on every node"),
    "disable": Entry(f"{_HERE}.http_mesh.disable", "Have the mesh nowhere"),
    "status": Entry(f"{_HERE}.http_mesh.status", "Show the mesh as this node has it"),
}

SYSTEM = {
    "info": Entry(f"{_HERE}.system.info", "Show what the daemon knows of its host"),
    "events": Entry(f"{_HERE}.system.events", "Follow what happens"),
    "df": Entry(f"{_HERE}.system.df", "Show how much room things take"),
    "prune": Entry(f"{_HERE}.system.prune", "Remove all that nobody uses"),
}

TOP = {
    **_CONTAINER_VERBS,
    "ps": Entry(f"{_HERE}.container.ls", "List containers"),
    "inspect": Entry(f"{_HERE}.system.inspect", "Show everything about containers, networks or images"),
    "network": Entry(f"{_HERE}.network.group", "Networks"),
    "container": Entry(f"{_HERE}.container.group", "Containers"),
    "image": Entry(f"{_HERE}.image.group", "Imported root file systems"),
    "volume": Entry(f"{_HERE}.volume.group", "Volumes"),
    "sandbox": Entry(f"{_HERE}.sandbox.group", "Network namespaces of others"),
    "swarm": Entry(f"{_HERE}.swarm.group", "The cluster of this node"),
    "node": Entry(f"{_HERE}.node.group", "Nodes of the cluster"),
    "service": Entry(f"{_HERE}.service.group", "Services of the cluster"),
    "stack": Entry(f"{_HERE}.stack.group", "Sets of services and networks out of Compose files"),
    "gossip": Entry(f"{_HERE}.gossip.group", "What the nodes tell each other"),
    "http-mesh": Entry(f"{_HERE}.http_mesh.group", "Services behind one port by host name"),
    "system": Entry(f"{_HERE}.system.group", "The node"),
    "events": Entry(f"{_HERE}.system.events", "Follow what happens"),
    "info": Entry(f"{_HERE}.system.info", "Show what the daemon knows of its host"),
    "version": Entry(f"{_HERE}.system.version", "Show versions"),
    "explain": Entry(f"{_HERE}.explain", "Explain an error's number"),
    "completion": Entry(f"{_HERE}.completion", "Print a script that completes words in your shell"),
    "daemon": Entry(f"{_HERE}.daemon", "Be the daemon of this host"),
    "lab": Entry(f"{_HERE}.lab", "Several hosts on one machine"),
}
