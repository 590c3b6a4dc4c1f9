"""From a Pod manifest to what one subprocess needs: command, environment and files. Pure.

Volumes become folders below the pod's own folder, and every argument or variable that starts with a
mount path is made to point there. What a kubelet would resolve (references to Secrets, ConfigMaps
and the pod's own fields, ``$(VAR)``, service names) is resolved here.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from haversack_operator.api.quantity import to_millis

from .base import Manifest

Data = Mapping[str, bytes]
SCRATCH: Final = "/tmp"  # noqa: S108  where a container mounts its scratch space


class PodError(Exception):
    """A pod cannot start as written; names what is missing. Starting later may work."""


class Objects(Protocol):
    """Where the data of a pod's ConfigMaps and Secrets comes from."""

    def config_map(self, name: str) -> Data | None:
        """Content by key, or None if there is no such ConfigMap."""

    def secret(self, name: str) -> Data | None:
        """Content by key, or None if there is no such Secret."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a pod lives on this machine."""

    folder: Path
    ip: str
    hosts: Mapping[str, str] = field(default_factory=dict)
    """IP by service name, as in ``<service>.<namespace>.svc``."""


@dataclass(frozen=True, slots=True)
class Launch:
    """All that it takes to start the pod's container."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    files: Mapping[Path, bytes]
    folders: tuple[Path, ...]


def container_of(pod: Manifest) -> Mapping[str, Any]:
    """The pod's only container. Raises ``PodError`` if it has another number of them."""
    containers: list[Mapping[str, Any]] = pod["spec"].get("containers", [])
    if len(containers) != 1 or pod["spec"].get("initContainers"):
        raise PodError(f"pod {pod['metadata']['name']}: exactly one container is supported")
    return containers[0]


def prepare(pod: Manifest, place: Place, objects: Objects) -> Launch:
    """Resolve ``pod``. Raises ``PodError`` that names the object or key that is missing."""
    container = container_of(pod)
    volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes", [])}
    folders, files, mounts = [], dict[Path, bytes](), dict[str, Path]()
    for mount in container.get("volumeMounts", []):
        root = place.folder / "volumes" / mount["name"]
        folders.append(root)
        mounts[mount["mountPath"]] = root / mount.get("subPath", "")
        if mount["name"] not in volumes:
            raise PodError(f"volume {mount['name']} is mounted but not in spec.volumes")
        files |= {root / path: data for path, data in _content(volumes[mount["name"]], objects)}
    env = _environment(pod, container, place, objects)
    words = [*container.get("command", []), *container.get("args", [])]
    argv = [_localise(_expand(word, env), mounts, place.hosts) for word in words]
    env = {name: _localise(value, mounts, place.hosts) for name, value in env.items()}
    if SCRATCH in mounts:
        # The container's own, by the only way there is to move it.
        env.setdefault("TMPDIR", str(mounts[SCRATCH]))
    return Launch(tuple(argv), env, files, tuple(folders))


def threads(pod: Manifest, available: int) -> int:
    """Threads that the container may keep busy: its CPU request, rounded up, at least one."""
    request = container_of(pod).get("resources", {}).get("requests", {}).get("cpu", "1")
    return max(1, min(available, -(-to_millis(str(request)) // 1000)))


def _content(volume: Mapping[str, Any], objects: Objects) -> Iterator[tuple[str, bytes]]:
    """(path below the mount, bytes) of a volume's files."""
    if "configMap" in volume:
        source = volume["configMap"]
        kind, data = f"ConfigMap {source['name']}", objects.config_map(source["name"])
    elif "secret" in volume:
        source = volume["secret"]
        kind, data = f"Secret {source['secretName']}", objects.secret(source["secretName"])
    elif "emptyDir" in volume:
        return
    else:
        raise PodError(
            f"volume {volume['name']}: only configMap, secret and emptyDir are supported"
        )
    if data is None:
        if not source.get("optional"):
            raise PodError(f"{kind} is not there")
        return
    for item in source.get("items") or [{"key": key, "path": key} for key in data]:
        if item["key"] not in data:
            raise PodError(f"{kind} has no key {item['key']}")
        yield item["path"], data[item["key"]]


def _environment(
    pod: Manifest, container: Mapping[str, Any], place: Place, objects: Objects
) -> dict[str, str]:
    env: dict[str, str] = {}
    for source in container.get("envFrom", []):
        env |= {name: value.decode() for name, value in _env_from(source, objects).items()}
    for variable in container.get("env", []):
        if "valueFrom" in variable:
            value = _referenced(variable["valueFrom"], pod, place, objects)
        else:
            value = _expand(variable.get("value", ""), env)
        if value is not None:
            env[variable["name"]] = value
    return env


def _env_from(source: Mapping[str, Any], objects: Objects) -> Data:
    secret = "secretRef" in source
    reference = source["secretRef" if secret else "configMapRef"]
    data = (objects.secret if secret else objects.config_map)(reference["name"])
    if data is None and not reference.get("optional"):
        raise PodError(f"{'Secret' if secret else 'ConfigMap'} {reference['name']} is not there")
    return data or {}


def _referenced(
    source: Mapping[str, Any], pod: Manifest, place: Place, objects: Objects
) -> str | None:
    if "fieldRef" in source:
        return _field(source["fieldRef"]["fieldPath"], pod, place)
    secret = "secretKeyRef" in source
    reference = source["secretKeyRef" if secret else "configMapKeyRef"]
    data = (objects.secret if secret else objects.config_map)(reference["name"])
    value = (data or {}).get(reference["key"])
    if value is None and not reference.get("optional"):
        raise PodError(f"{reference['name']} has no key {reference['key']}, or is not there")
    return None if value is None else value.decode()


def _field(path: str, pod: Manifest, place: Place) -> str:
    """The downward API, as far as pods here use it."""
    if path in {"status.podIP", "status.hostIP"}:
        return place.ip
    keyed = re.fullmatch(r"metadata\.(labels|annotations)\['([^']+)'\]", path)
    if keyed:
        return str(pod["metadata"].get(keyed[1], {}).get(keyed[2], ""))
    value: Any = pod
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return str(value or "")


def _expand(text: str, env: Mapping[str, str]) -> str:
    """``$(NAME)`` becomes the variable's value if it is known; ``$$`` is a dollar sign."""
    return re.sub(
        r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_]*)\)",
        lambda found: "$" if found[0] == "$$" else env.get(found[1], found[0]),
        text,
    )


def _localise(text: str, mounts: Mapping[str, Path], hosts: Mapping[str, str]) -> str:
    """Point a path below a mount at its folder, and ``service:port`` at an address.

    A service's bare name stays: it is the name in a certificate.
    """
    for mount, folder in sorted(mounts.items(), key=lambda pair: -len(pair[0])):
        if text == mount or text.startswith(mount.rstrip("/") + "/"):
            return str(folder) + text[len(mount) :]
    for host, ip in hosts.items():
        text = re.sub(rf"(?<![\w.-]){re.escape(host)}(?=:\d)", ip, text)
    return text


def decoded(manifest: Manifest) -> Data:
    """Content of a Secret or ConfigMap manifest, by key."""
    plain = {**manifest.get("stringData", {})}
    if manifest["kind"] == "ConfigMap":
        plain |= manifest.get("data") or {}
        binary = manifest.get("binaryData") or {}
    else:
        binary = manifest.get("data") or {}
    return {key: base64.b64decode(value) for key, value in binary.items()} | {
        key: value.encode() for key, value in plain.items()
    }
