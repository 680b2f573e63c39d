"""Two machines, which two network namespaces stand for, train as one does: hostfile and the real deepspeed launcher."""

import os
import shutil
import subprocess

import pytest
from launching import environment, free_ports, launch, settings, weights
from tiny_base import ROOT, SMALL

pytestmark = pytest.mark.slow


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=30)


@pytest.fixture
def nodes():
    """Names, interfaces and addresses of two namespaces that reach each other and nothing else."""
    if shutil.which("ip") is None:
        pytest.skip("ip (iproute2) is not installed")
    found = [(f"inspo-{os.getpid()}-{number}", f"node{number}", f"10.77.0.{number + 1}") for number in range(2)]
    (one, first, _), (other, second, _) = found
    try:
        for name, _, _ in found:
            ip("netns", "add", name)
        ip("link", "add", first, "netns", one, "type", "veth", "peer", "name", second, "netns", other)
    except subprocess.CalledProcessError as error:
        for name, _, _ in found:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True, timeout=30)
        pytest.skip(f"network namespaces are not allowed here: {error.stderr.decode().strip()}")
    try:
        for name, interface, address in found:
            ip("-n", name, "addr", "add", f"{address}/24", "dev", interface)
            for each in (interface, "lo"):
                ip("-n", name, "link", "set", each, "up")
        yield found
    finally:
        for name, _, _ in found:
            ip("netns", "del", name)


def small(out):
    values = SMALL | {"out": str(out), "zero_stage": 2, "limit": 40, "validation_size": 8, "max_updates": 2}
    values |= {"batch_size": 16, "micro_batch": 4}
    return settings(values)


def test_two_nodes_train_to_the_weights_of_one(nodes, tmp_path):
    hosts = tmp_path / "hostfile"
    hosts.write_text("".join(f"{address} slots=1\n" for _, _, address in nodes))
    master, port = nodes[0][2], str(free_ports(1)[0])
    running = [
        subprocess.Popen(
            [
                *("ip", "netns", "exec", name, "deepspeed", "--hostfile", str(hosts), "--no_ssh"),
                *("--node_rank", str(rank), "--master_addr", master, "--master_port", port),
                *("scaled/train.py", *small(tmp_path / "two")),
            ],
            cwd=ROOT,
            env=environment() | {"GLOO_SOCKET_IFNAME": interface},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank, (name, interface, _) in enumerate(nodes)
    ]
    said = [process.communicate(timeout=300)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0], "\n".join(said)[-3000:]
    done = launch(2, "scaled/train.py", *small(tmp_path / "one"))
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert (weights(tmp_path / "two") - weights(tmp_path / "one")).abs().max() <= 1e-6
