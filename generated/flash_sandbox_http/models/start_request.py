from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

T = TypeVar("T", bound="StartRequest")


@_attrs_define
class StartRequest:
    """
    Attributes:
        type_ (str | Unset): Runtime that runs the sandbox: bubblewrap, docker, gvisor, firecracker, or auto for the
            best one that the host has. Empty is auto. Default: ''.
        image (str | Unset): Image to start from; what names one depends on the runtime. Empty is the runtime's default.
            Default: ''.
        command (list[str] | Unset): Main process and its arguments. Empty has the sandbox idle until it is stopped,
            whatever the image says; see image_command.
        memory_mb (int | Unset): Memory limit in MiB, 1 to 2147483647. 0 is the snapshot's, or 512. Default: 0.
        cpu_cores (float | Unset): CPU limit in cores, above 0 and at most 1024. 0 is the snapshot's, or 1. Default:
            0.0.
        kernel_image (str | Unset): Path of a guest kernel on the orchestrator's host. Firecracker only. Empty is the
            engine's. Default: ''.
        initrd_path (str | Unset): Path of an initial RAM disk on the orchestrator's host. Firecracker only. Empty is
            the engine's. Default: ''.
        snapshot_path (str | Unset): Snapshot to start from, by its ID, its name or its path. Empty is no snapshot.
            Default: ''.
        mem_file_path (str | Unset): Memory file of that snapshot, where the runtime captures memory apart. Empty is no
            file. Default: ''.
        network (str | Unset): Network of the sandbox: none (nothing but its own loopback), policy (what network_allow
            names, through the orchestrator), or bridge, also called open (out through the host). Empty is the snapshot's,
            or the orchestrator's default. Default: ''.
        name (str | Unset): Name that the sandbox can be found by, of the same form as an ID. Empty is no name. Default:
            ''.
        labels (list[str] | Unset): Labels that the sandbox can be found by, each NAME=value.
        ttl_seconds (float | Unset): Seconds after which the sandbox expires and is removed, at most ten years. 0 is the
            snapshot's, or the orchestrator's default. Default: 0.0.
        pids (int | Unset): Most processes and threads, 16 to 4194304. 0 is the snapshot's, or 512. Default: 0.
        shm_mb (int | Unset): Size of /dev/shm in MiB, 1 to 2147483647. 0 is the snapshot's, or 64. Default: 0.
        env (list[str] | Unset): Variables of every process of the sandbox besides the image's, each NAME=value. Those
            of the snapshot stay where none of these has their name.
        user (str | Unset): User that the main process runs as, and each command that names none: a name, UID or
            UID:GID; which can be given depends on the runtime. Empty is the snapshot's, or the runtime's default. Default:
            ''.
        image_command (bool | Unset): Whether the main process is the image's own command. Refused where a command is
            given, too, or the image has none. Default: False.
        idle_timeout (float | Unset): Seconds after which a sandbox is idle that no call uses, that prints nothing and
            that needs less than 1 % of a core, at most ten years. 0 is never. Default: 0.0.
        on_idle (str | Unset): What is done with an idle sandbox: stop, pause, or suspend (paused, its memory on the
            disk; gvisor only). Empty is stop. Default: ''.
        auto_resume (bool | Unset): Whether a call that uses the sandbox resumes it where it is paused. Default: False.
        network_allow (list[str] | Unset): What a policy lets the sandbox reach, each HOST or HOST:PORT: a name,
            ``*.NAME`` for all below it, * for all, an address or a network such as 10.1.0.0/16. Without a port it is ports
            80 and 443; port * is every port.
        network_deny (list[str] | Unset): What of that it does not reach, in the same form. Without a port it is every
            port.
        volumes (list[str] | Unset): Volumes that the sandbox has, each SOURCE:TARGET, or SOURCE:TARGET:ro to be read
            alone. The source is the name of a volume, or the absolute path of a directory of the orchestrator's host. Those
            of the snapshot stay where none of these has their target.
        secrets (list[str] | Unset): Secrets that programs have placeholders of, each NAME@HOST,HOST=VALUE: the gate of
            a network policy puts the value into requests to those hosts, each named as in network_allow. Never answered,
            and no part of snapshots.
        disk_mb (int | Unset): Most that the sandbox may have written, in MiB, 1 to 2147483647: files that it makes or
            changes, and what its file system needs for them. 0 is the snapshot's, or no limit. Default: 0.
    """

    type_: str | Unset = ""
    image: str | Unset = ""
    command: list[str] | Unset = UNSET
    memory_mb: int | Unset = 0
    cpu_cores: float | Unset = 0.0
    kernel_image: str | Unset = ""
    initrd_path: str | Unset = ""
    snapshot_path: str | Unset = ""
    mem_file_path: str | Unset = ""
    network: str | Unset = ""
    name: str | Unset = ""
    labels: list[str] | Unset = UNSET
    ttl_seconds: float | Unset = 0.0
    pids: int | Unset = 0
    shm_mb: int | Unset = 0
    env: list[str] | Unset = UNSET
    user: str | Unset = ""
    image_command: bool | Unset = False
    idle_timeout: float | Unset = 0.0
    on_idle: str | Unset = ""
    auto_resume: bool | Unset = False
    network_allow: list[str] | Unset = UNSET
    network_deny: list[str] | Unset = UNSET
    volumes: list[str] | Unset = UNSET
    secrets: list[str] | Unset = UNSET
    disk_mb: int | Unset = 0
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        type_ = self.type_

        image = self.image

        command: list[str] | Unset = UNSET
        if not isinstance(self.command, Unset):
            command = self.command

        memory_mb = self.memory_mb

        cpu_cores = self.cpu_cores

        kernel_image = self.kernel_image

        initrd_path = self.initrd_path

        snapshot_path = self.snapshot_path

        mem_file_path = self.mem_file_path

        network = self.network

        name = self.name

        labels: list[str] | Unset = UNSET
        if not isinstance(self.labels, Unset):
            labels = self.labels

        ttl_seconds = self.ttl_seconds

        pids = self.pids

        shm_mb = self.shm_mb

        env: list[str] | Unset = UNSET
        if not isinstance(self.env, Unset):
            env = self.env

        user = self.user

        image_command = self.image_command

        idle_timeout = self.idle_timeout

        on_idle = self.on_idle

        auto_resume = self.auto_resume

        network_allow: list[str] | Unset = UNSET
        if not isinstance(self.network_allow, Unset):
            network_allow = self.network_allow

        network_deny: list[str] | Unset = UNSET
        if not isinstance(self.network_deny, Unset):
            network_deny = self.network_deny

        volumes: list[str] | Unset = UNSET
        if not isinstance(self.volumes, Unset):
            volumes = self.volumes

        secrets: list[str] | Unset = UNSET
        if not isinstance(self.secrets, Unset):
            secrets = self.secrets

        disk_mb = self.disk_mb

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update({})
        if type_ is not UNSET:
            field_dict["type"] = type_
        if image is not UNSET:
            field_dict["image"] = image
        if command is not UNSET:
            field_dict["command"] = command
        if memory_mb is not UNSET:
            field_dict["memory_mb"] = memory_mb
        if cpu_cores is not UNSET:
            field_dict["cpu_cores"] = cpu_cores
        if kernel_image is not UNSET:
            field_dict["kernel_image"] = kernel_image
        if initrd_path is not UNSET:
            field_dict["initrd_path"] = initrd_path
        if snapshot_path is not UNSET:
            field_dict["snapshot_path"] = snapshot_path
        if mem_file_path is not UNSET:
            field_dict["mem_file_path"] = mem_file_path
        if network is not UNSET:
            field_dict["network"] = network
        if name is not UNSET:
            field_dict["name"] = name
        if labels is not UNSET:
            field_dict["labels"] = labels
        if ttl_seconds is not UNSET:
            field_dict["ttl_seconds"] = ttl_seconds
        if pids is not UNSET:
            field_dict["pids"] = pids
        if shm_mb is not UNSET:
            field_dict["shm_mb"] = shm_mb
        if env is not UNSET:
            field_dict["env"] = env
        if user is not UNSET:
            field_dict["user"] = user
        if image_command is not UNSET:
            field_dict["image_command"] = image_command
        if idle_timeout is not UNSET:
            field_dict["idle_timeout"] = idle_timeout
        if on_idle is not UNSET:
            field_dict["on_idle"] = on_idle
        if auto_resume is not UNSET:
            field_dict["auto_resume"] = auto_resume
        if network_allow is not UNSET:
            field_dict["network_allow"] = network_allow
        if network_deny is not UNSET:
            field_dict["network_deny"] = network_deny
        if volumes is not UNSET:
            field_dict["volumes"] = volumes
        if secrets is not UNSET:
            field_dict["secrets"] = secrets
        if disk_mb is not UNSET:
            field_dict["disk_mb"] = disk_mb

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        type_ = d.pop("type", UNSET)

        image = d.pop("image", UNSET)

        command = cast(list[str], d.pop("command", UNSET))

        memory_mb = d.pop("memory_mb", UNSET)

        cpu_cores = d.pop("cpu_cores", UNSET)

        kernel_image = d.pop("kernel_image", UNSET)

        initrd_path = d.pop("initrd_path", UNSET)

        snapshot_path = d.pop("snapshot_path", UNSET)

        mem_file_path = d.pop("mem_file_path", UNSET)

        network = d.pop("network", UNSET)

        name = d.pop("name", UNSET)

        labels = cast(list[str], d.pop("labels", UNSET))

        ttl_seconds = d.pop("ttl_seconds", UNSET)

        pids = d.pop("pids", UNSET)

        shm_mb = d.pop("shm_mb", UNSET)

        env = cast(list[str], d.pop("env", UNSET))

        user = d.pop("user", UNSET)

        image_command = d.pop("image_command", UNSET)

        idle_timeout = d.pop("idle_timeout", UNSET)

        on_idle = d.pop("on_idle", UNSET)

        auto_resume = d.pop("auto_resume", UNSET)

        network_allow = cast(list[str], d.pop("network_allow", UNSET))

        network_deny = cast(list[str], d.pop("network_deny", UNSET))

        volumes = cast(list[str], d.pop("volumes", UNSET))

        secrets = cast(list[str], d.pop("secrets", UNSET))

        disk_mb = d.pop("disk_mb", UNSET)

        start_request = cls(
            type_=type_,
            image=image,
            command=command,
            memory_mb=memory_mb,
            cpu_cores=cpu_cores,
            kernel_image=kernel_image,
            initrd_path=initrd_path,
            snapshot_path=snapshot_path,
            mem_file_path=mem_file_path,
            network=network,
            name=name,
            labels=labels,
            ttl_seconds=ttl_seconds,
            pids=pids,
            shm_mb=shm_mb,
            env=env,
            user=user,
            image_command=image_command,
            idle_timeout=idle_timeout,
            on_idle=on_idle,
            auto_resume=auto_resume,
            network_allow=network_allow,
            network_deny=network_deny,
            volumes=volumes,
            secrets=secrets,
            disk_mb=disk_mb,
        )

        start_request.additional_properties = d
        return start_request

    @property
    def additional_keys(self) -> list[str]:
        return list(self.additional_properties.keys())

    def __getitem__(self, key: str) -> Any:
        return self.additional_properties[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.additional_properties[key] = value

    def __delitem__(self, key: str) -> None:
        del self.additional_properties[key]

    def __contains__(self, key: str) -> bool:
        return key in self.additional_properties
