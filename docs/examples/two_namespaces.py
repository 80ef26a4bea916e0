"""Two network namespaces in one network, from a program of one's own: run as root on a host without the daemon.

What is shown: a network, a sandbox in a namespace that is there already and one in a new one, addresses and names,
a published port, and that nothing is left.
"""

from __future__ import annotations

import subprocess

import fairlead

SERVER = "import http.server as h; h.test(h.SimpleHTTPRequestHandler, port=80, bind='0.0.0.0')"


def inside(path: str, *words: str) -> str:
    """Run a program in a network namespace; its output."""
    return subprocess.run(["nsenter", f"--net={path}", *words], check=True, capture_output=True, text=True).stdout


def main(namespace: str) -> None:
    """``namespace`` is the path of one that exists, such as ``/run/netns/blue`` after ``ip netns add blue``."""
    with fairlead.Node() as node:
        web = node.network("web", subnets=["10.90.0.0/24"])
        blue = node.sandbox("blue", namespace=namespace)
        green = node.sandbox("green")

        blue.join(web, ipv4="10.90.0.50", ifname="web0")
        green.join(web, aliases=["shop"], ports=[fairlead.PortRequest("tcp", 80, host_port=8091)])
        print("blue is", blue.address(web), "and finds shop at", *blue.resolve("shop"))
        print(inside(blue.path, "ping", "-c1", "-W5", green.address(web)).splitlines()[1])

        with subprocess.Popen(
            ["nsenter", f"--net={green.path}", "python3", "-c", SERVER],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as server:
            try:
                get = ["curl", "--silent", "--retry", "20", "--retry-connrefused", "--retry-delay", "1"]
                get += ["--output", "/dev/null", "--write-out", "%{http_code}"]
                print(
                    "port 8091 of the host answers",
                    subprocess.check_output([*get, "http://127.0.0.1:8091/"], text=True),
                )
            finally:
                server.kill()

        try:
            web.delete()
        except fairlead.NetError as error:
            print(f"{error} ({error.hint})")
        green.leave(web)
        blue.delete()
        web.delete()
        print("left:", list(node.sandboxes), list(node.networks))


if __name__ == "__main__":
    import sys

    main(sys.argv[1])
