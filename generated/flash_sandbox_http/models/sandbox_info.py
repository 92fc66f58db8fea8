from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="SandboxInfo")


@_attrs_define
class SandboxInfo:
    """What is known of a sandbox.

    Attributes:
        id (str): ID of the sandbox.
        name (str): Name that its start gave it; empty for none.
        status (str): State of the sandbox: creating, running, paused, stopped, error or ended.
        type_ (str): Runtime that runs it.
        image (str): Image that it runs.
        command (list[str]): Main process and its arguments, as its start gave them.
        labels (list[str]): Labels that its start gave it, each NAME=value.
        memory_mb (int): Memory limit in MiB.
        cpu_cores (float): CPU limit in cores.
        network (str): Network of the sandbox: none, policy or bridge.
        created_at (float): When it was started, in seconds of Unix time.
        expires_at (float): When it expires, in seconds of Unix time; 0 for never.
        exit_code (int): Exit status of its main process, once that has ended by itself.
        pids (int): Most processes and threads; 0 where that is not limited.
        shm_mb (int): Size of /dev/shm in MiB; 0 where it has none of its own.
        env (list[str]): Variables of every process besides the image's, each NAME=value.
        user (str): User that the main process and commands run as; empty for the runtime's default.
        image_command (bool): Whether its main process is the image's own command.
        ended_at (float): When it ended, in seconds of Unix time; 0 for a sandbox that is there.
        end_cause (str): Why it ended; empty for a sandbox that has not.
        idle_timeout (float): Seconds after which it is idle; 0 for never.
        on_idle (str): What is done with it once it is idle; empty for nothing.
        auto_resume (bool): Whether a call that uses it resumes it where it is paused.
        network_allow (list[str]): What a policy lets the sandbox reach, each HOST or HOST:PORT: a name, ``*.NAME`` for
            all below it, * for all, an address or a network such as 10.1.0.0/16. Without a port it is ports 80 and 443;
            port * is every port.
        network_deny (list[str]): What of that it does not reach, in the same form. Without a port it is every port.
        volumes (list[str]): Volumes that it has, each SOURCE:TARGET or SOURCE:TARGET:ro.
        disk_mb (int): Most that it may have written, in MiB; 0 for no limit.
    """

    id: str
    name: str
    status: str
    type_: str
    image: str
    command: list[str]
    labels: list[str]
    memory_mb: int
    cpu_cores: float
    network: str
    created_at: float
    expires_at: float
    exit_code: int
    pids: int
    shm_mb: int
    env: list[str]
    user: str
    image_command: bool
    ended_at: float
    end_cause: str
    idle_timeout: float
    on_idle: str
    auto_resume: bool
    network_allow: list[str]
    network_deny: list[str]
    volumes: list[str]
    disk_mb: int
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        id = self.id

        name = self.name

        status = self.status

        type_ = self.type_

        image = self.image

        command = self.command

        labels = self.labels

        memory_mb = self.memory_mb

        cpu_cores = self.cpu_cores

        network = self.network

        created_at = self.created_at

        expires_at = self.expires_at

        exit_code = self.exit_code

        pids = self.pids

        shm_mb = self.shm_mb

        env = self.env

        user = self.user

        image_command = self.image_command

        ended_at = self.ended_at

        end_cause = self.end_cause

        idle_timeout = self.idle_timeout

        on_idle = self.on_idle

        auto_resume = self.auto_resume

        network_allow = self.network_allow

        network_deny = self.network_deny

        volumes = self.volumes

        disk_mb = self.disk_mb

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "id": id,
                "name": name,
                "status": status,
                "type": type_,
                "image": image,
                "command": command,
                "labels": labels,
                "memory_mb": memory_mb,
                "cpu_cores": cpu_cores,
                "network": network,
                "created_at": created_at,
                "expires_at": expires_at,
                "exit_code": exit_code,
                "pids": pids,
                "shm_mb": shm_mb,
                "env": env,
                "user": user,
                "image_command": image_command,
                "ended_at": ended_at,
                "end_cause": end_cause,
                "idle_timeout": idle_timeout,
                "on_idle": on_idle,
                "auto_resume": auto_resume,
                "network_allow": network_allow,
                "network_deny": network_deny,
                "volumes": volumes,
                "disk_mb": disk_mb,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        id = d.pop("id")

        name = d.pop("name")

        status = d.pop("status")

        type_ = d.pop("type")

        image = d.pop("image")

        command = cast(list[str], d.pop("command"))

        labels = cast(list[str], d.pop("labels"))

        memory_mb = d.pop("memory_mb")

        cpu_cores = d.pop("cpu_cores")

        network = d.pop("network")

        created_at = d.pop("created_at")

        expires_at = d.pop("expires_at")

        exit_code = d.pop("exit_code")

        pids = d.pop("pids")

        shm_mb = d.pop("shm_mb")

        env = cast(list[str], d.pop("env"))

        user = d.pop("user")

        image_command = d.pop("image_command")

        ended_at = d.pop("ended_at")

        end_cause = d.pop("end_cause")

        idle_timeout = d.pop("idle_timeout")

        on_idle = d.pop("on_idle")

        auto_resume = d.pop("auto_resume")

        network_allow = cast(list[str], d.pop("network_allow"))

        network_deny = cast(list[str], d.pop("network_deny"))

        volumes = cast(list[str], d.pop("volumes"))

        disk_mb = d.pop("disk_mb")

        sandbox_info = cls(
            id=id,
            name=name,
            status=status,
            type_=type_,
            image=image,
            command=command,
            labels=labels,
            memory_mb=memory_mb,
            cpu_cores=cpu_cores,
            network=network,
            created_at=created_at,
            expires_at=expires_at,
            exit_code=exit_code,
            pids=pids,
            shm_mb=shm_mb,
            env=env,
            user=user,
            image_command=image_command,
            ended_at=ended_at,
            end_cause=end_cause,
            idle_timeout=idle_timeout,
            on_idle=on_idle,
            auto_resume=auto_resume,
            network_allow=network_allow,
            network_deny=network_deny,
            volumes=volumes,
            disk_mb=disk_mb,
        )

        sandbox_info.additional_properties = d
        return sandbox_info

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
