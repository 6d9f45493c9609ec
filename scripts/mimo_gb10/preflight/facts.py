"""What was read on one node. A fact that could not be read is an `Unread` that says why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Unread:
    """Something that could not be read.

    Attributes:
        why: The reason, in a few words that can stand behind "not read: ".
        missing: Whether it is not there at all (a command that is not installed, a file that does not exist).
    """

    why: str
    missing: bool = False


@dataclass(frozen=True)
class Gpu:
    """One GPU as ``nvidia-smi`` shows it; utilization in percent or None."""

    name: str
    capability: str
    driver: str
    utilization: int | None


@dataclass(frozen=True)
class GpuProcess:
    """A process that computes on a GPU; memory in MiB, or None where the driver does not say."""

    pid: int
    name: str
    mebibytes: int | None


@dataclass(frozen=True)
class Driver:
    """The loaded kernel module: its version, and whether it is the open flavour."""

    version: str
    is_open: bool


@dataclass(frozen=True)
class Process:
    """A process and the bytes that it holds in memory."""

    pid: int
    name: str
    resident: int


@dataclass(frozen=True)
class System:
    """The machine itself.

    Attributes:
        hostname: Its name.
        kernel: The kernel's release.
        memory: ``/proc/meminfo`` in bytes.
        memlock: Bytes that a process may lock, None for unlimited.
        largest: The processes that hold most memory, largest first.
        gpus: The GPUs.
        gpu_processes: Processes that compute on them.
        driver: The loaded driver.
        cuda: The CUDA version that the driver supports.
        clock_synchronized: Whether the clock follows a time server.
        leftovers: NCCL settings of the machine by file, as the lines that say something.
    """

    hostname: str
    kernel: str | Unread
    memory: Mapping[str, int] | Unread
    memlock: int | Unread | None
    largest: tuple[Process, ...]
    gpus: tuple[Gpu, ...] | Unread
    gpu_processes: tuple[GpuProcess, ...] | Unread
    driver: Driver | Unread
    cuda: str | Unread
    clock_synchronized: bool | Unread
    leftovers: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Address:
    """An address on an interface, with its prefix length."""

    address: str
    prefix: int


@dataclass(frozen=True)
class Interface:
    """A network interface.

    Attributes:
        name: Its name.
        state: ``up``, ``down``, ``unknown`` and so on, as ``operstate`` says.
        mtu: Its MTU, or None.
        hardware: Its hardware address.
        device: Where its device stands in sysfs, or None for one without.
        alternatives: Other names of it (``altname``).
        addresses: Its addresses.
    """

    name: str
    state: str
    mtu: int | None
    hardware: str
    device: str | None
    alternatives: tuple[str, ...] = ()
    addresses: tuple[Address, ...] = ()


@dataclass(frozen=True)
class Gid:
    """One entry of a GID table: its index, address and type (``RoCE v2``)."""

    index: int
    address: str
    kind: str


@dataclass(frozen=True)
class RdmaDevice:
    """An RDMA device, port 1.

    Attributes:
        name: Its name.
        state: ``ACTIVE``, ``DOWN`` and so on.
        link_layer: ``Ethernet`` or ``InfiniBand``.
        interfaces: The network interfaces of the same PCI device.
        gids: Its GID table without empty entries.
        uverbs: Whether programs can open it: its file under /dev/infiniband is there.
        link_width: PCIe lanes in use, or None.
        max_link_width: PCIe lanes that the device has, or None.
    """

    name: str
    state: str
    link_layer: str
    interfaces: tuple[str, ...]
    gids: tuple[Gid, ...]
    uverbs: bool
    link_width: int | None = None
    max_link_width: int | None = None


@dataclass(frozen=True)
class Listener:
    """A TCP socket that listens."""

    address: str
    port: int


@dataclass(frozen=True)
class Network:
    """Interfaces, RDMA devices, and who listens where."""

    interfaces: Mapping[str, Interface] | Unread
    rdma: Mapping[str, RdmaDevice]
    listeners: tuple[Listener, ...] | Unread
    resolved: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Route:
    """How packets to an address leave: by which interface, and over which gateway if any."""

    interface: str
    gateway: str | None
    source: str | None


@dataclass(frozen=True)
class Reach:
    """How another node is reached.

    Attributes:
        address: The other node's address.
        route: How packets leave.
        connect: What a TCP connection to it gave: ``open``, ``refused``, or why not.
        jumbo: Whether a packet of the fabric's MTU comes back in one piece; Unread where it was not tried.
    """

    address: str
    route: Route | Unread
    connect: str
    jumbo: bool | Unread


@dataclass(frozen=True)
class Image:
    """The recipe's image as it lies on the node."""

    id: str
    digests: tuple[str, ...]
    architecture: str
    created: str


@dataclass(frozen=True)
class InImage:
    """What the image itself answered: the NCCL that it loads, and each defect's status."""

    nccl: str | Unread
    sglang: str | None
    patches: Mapping[str, str] | Unread


@dataclass(frozen=True)
class Container:
    """A container on the node, running or not."""

    name: str
    image: str
    state: str


@dataclass(frozen=True)
class Docker:
    """The container runtime, and what it holds. `image` and `in_image` are None where nobody asked."""

    version: str
    runtimes: tuple[str, ...]
    gpu_hook: bool
    containers: tuple[Container, ...] | Unread
    image: Image | Unread | None
    in_image: InImage | Unread | None


@dataclass(frozen=True)
class Shard:
    """One weights file: its bytes, and the bytes that its own header promises (None if the header cannot be read)."""

    size: int
    promised: int | None
    tensors: frozenset[str] = field(default=frozenset(), repr=False)


@dataclass(frozen=True)
class Weights:
    """The checkpoint.

    Attributes:
        architectures: What its config.json says.
        index: Tensor names by file, as the index says.
        total: The bytes of all tensors, as the index says.
        shards: Every file of the index that is there.
        digests: SHA-256 of the small files, by name.
        free: Bytes that are free on its file system.
    """

    architectures: tuple[str, ...] | Unread
    index: Mapping[str, frozenset[str]] | Unread
    total: int | None
    shards: Mapping[str, Shard]
    digests: Mapping[str, str]
    free: int | Unread


@dataclass(frozen=True)
class Facts:
    """Everything that was read on one node."""

    system: System
    network: Network
    reach: tuple[Reach, ...]
    docker: Docker | Unread
    weights: Weights
