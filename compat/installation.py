"""What the suites need, from package registries alone, pinned, in ``.compat/``.

A component is a client or a suite with a directory of its own and a recipe. When the recipe has
run, the directory gets a stamp: a hash over everything that is pinned for it. With the same stamp
nothing is done; with another one the directory is made anew. A component that cannot be had says
why in :exc:`NotAvailableError`; whoever needs it reports "not run", never "passed".

This module uses the standard library only and runs on any Python from 3.11 on::

    scripts/setup-compat                    # everything
    scripts/setup-compat librdkafka kcat    # some
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import time
import venv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
REQUIREMENTS: Final = ROOT / "compat" / "requirements"
CACHE: Final = Path(os.environ.get("OTTLA_COMPAT_CACHE", ROOT / ".compat"))

KAFKA_PYTHON_VERSION: Final = "3.0.12"
KAFKA_JAVASCRIPT_VERSION: Final = "1.10.1"
LIBRDKAFKA_VERSION: Final = "2.15.1"
"""What :data:`KAFKA_JAVASCRIPT_VERSION` carries, its tests included."""
KCAT_VERSION: Final = "1.7.1"
KAFKA_VERSION: Final = "4.3.1"
NODE_VERSION: Final = "22.23.3"
QUIXSTREAMS_VERSION: Final = "3.28.1"

_DAY_S: Final = 24 * 3600

_SERVICE: Final = '''"""Stands in for a module that is not distributed."""


class ExternalService:
    def __init__(self, host, port):
        self.host, self.port = host, port

    def open(self):
        """It is open."""

    def close(self):
        """It stays open."""

    stop = close


class SpawnedService:
    """Never made."""
'''


class NotAvailableError(Exception):
    """A component cannot be had on this machine; the message says why."""


def say(text: str) -> None:
    """Tell what is being done, to whoever waits for it."""
    sys.stderr.write(f"setup-compat: {text}\n")


def run(
    *command: str | Path, cwd: Path | None = None, environment: Mapping[str, str] | None = None
) -> str:
    """Run a command politely and return its output; :exc:`NotAvailableError` if it fails."""
    try:
        done = subprocess.run(
            ["nice", "-n", "15", *map(str, command)],
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as error:
        raise NotAvailableError(f"{command[0]}: {error}") from error
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-8:]
        shown = " ".join(str(part) for part in command[:6])
        raise NotAvailableError(f"`{shown}` failed: " + " / ".join(last))
    return done.stdout


def need_programs(packages: Mapping[str, str]) -> None:
    """Install the Debian packages of programs that are missing; ``{program: package}``."""
    missing = sorted({pkg for program, pkg in packages.items() if not shutil.which(program)})
    if missing:
        _install_debian(missing)


def need_headers(packages: Mapping[str, str]) -> None:
    """Install the Debian packages of C headers that are missing; ``{header: package}``."""
    missing = sorted(
        pkg for header, pkg in packages.items() if not (Path("/usr/include") / header).exists()
    )
    if missing:
        _install_debian(missing)


def _install_debian(packages: Sequence[str]) -> None:
    names = " ".join(packages)
    if not shutil.which("apt-get"):
        raise NotAvailableError(f"needs {names}, and there is no apt-get to install it with")
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if as_root and not shutil.which("sudo"):
        raise NotAvailableError(f"needs {names}; install it as root: apt-get install {names}")
    say(f"apt-get install {names}")
    lists = Path("/var/lib/apt/lists")
    newest = max((path.stat().st_mtime for path in lists.glob("*_Packages*")), default=0.0)
    if time.time() - newest > _DAY_S:
        run(*as_root, "apt-get", "update", "-qq")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    install = ("apt-get", "install", "-y", "-qq", "--no-install-recommends")
    run(*as_root, *install, *packages, environment=quiet)


def python_of(component: str) -> Path:
    """Return the interpreter of a component that is a Python environment."""
    return CACHE / component / "bin" / "python"


def node() -> Path:
    """Return the pinned Node."""
    return (
        CACHE / "node-clients" / "node_modules" / f"node-linux-{_node_machine()}" / "bin" / "node"
    )


def _node_machine() -> str:
    return {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def _python_environment(requirements: str) -> Callable[[Path], None]:
    def install(directory: Path) -> None:
        venv.create(directory, with_pip=True)
        pip = (directory / "bin" / "python", "-m", "pip", "--disable-pip-version-check")
        run(*pip, "install", "--quiet", "-r", REQUIREMENTS / requirements)

    return install


def _install_kcat(directory: Path) -> None:
    need_programs({"kcat": "kcat"})
    directory.mkdir(parents=True)


def _install_librdkafka(directory: Path) -> None:
    """Build the library and its tests; the shared library serves the JavaScript client too."""
    need_programs({"npm": "npm", "gcc": "gcc", "g++": "g++", "make": "make"})
    need_headers(
        {
            "openssl/ssl.h": "libssl-dev",
            "rapidjson/schema.h": "rapidjson-dev",  # three of its tests read statistics with it
            "zlib.h": "zlib1g-dev",
            "zstd.h": "libzstd-dev",
        }
    )
    directory.mkdir(parents=True)
    package = f"@confluentinc/kafka-javascript@{KAFKA_JAVASCRIPT_VERSION}"
    packed = json.loads(run("npm", "pack", package, "--json", cwd=directory))
    archive = directory / packed[0]["filename"]
    inside = "package/deps/librdkafka/"
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            if member.name.startswith(inside):
                member.name = member.name.removeprefix(inside)
                tar.extract(member, directory, filter="data")
    archive.unlink()
    (directory / "configure").chmod(0o755)
    run("./configure", "--disable-curl", "--disable-sasl", cwd=directory)
    say("  compiling librdkafka (about 2 minutes)")
    run("make", "-j1", "libs", cwd=directory)
    say("  compiling its tests (about 2 minutes)")
    run("make", "-j1", "-C", "tests", "build", cwd=directory)


def _install_kafka_python_tests(directory: Path) -> None:
    """Unpack the source distribution and add two files that it leaves out."""
    directory.mkdir(parents=True)
    python = python_of("python-clients")
    download = (python, "-m", "pip", "--disable-pip-version-check", "download", "--quiet")
    wanted = f"kafka-python=={KAFKA_PYTHON_VERSION}"
    run(*download, "--no-deps", "--no-binary", ":all:", "-d", directory, wanted)
    (archive,) = directory.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(directory, filter="data")
    archive.unlink()
    tests = directory / f"kafka_python-{KAFKA_PYTHON_VERSION}" / "test"
    (tests / "__init__.py").touch()
    (tests / "service.py").write_text(_SERVICE)


def _install_packages(directory: Path, environment: Mapping[str, str] | None = None) -> None:
    """Install what the component's lock file pins; nothing of it runs while it is installed."""
    need_programs({"npm": "npm"})
    directory.mkdir(parents=True)
    for name in ("package.json", "package-lock.json"):
        (directory / name).write_text((REQUIREMENTS / directory.name / name).read_text())
    quiet = ("--ignore-scripts", "--no-audit", "--no-fund")
    run("npm", "ci", *quiet, cwd=directory, environment=environment)


def _install_node_clients(directory: Path) -> None:
    _install_packages(directory)
    if not node().exists():
        raise NotAvailableError(f"no Node {NODE_VERSION} for {platform.machine()} among the pins")


def _install_confluent_javascript(directory: Path) -> None:
    """Build the native client with the librdkafka that was built before."""
    need_programs({"g++": "g++", "make": "make", "python3": "python3"})
    environment = {"PATH": f"{node().parent}{os.pathsep}{os.environ['PATH']}"}
    _install_packages(directory, environment)
    library = CACHE / "librdkafka"
    say("  compiling @confluentinc/kafka-javascript (half a minute)")
    environment |= {
        "BUILD_LIBRDKAFKA": "0",
        "CXXFLAGS": f"-I{library}/src -I{library}/src-cpp",
        "LDFLAGS": f"-L{library}/src -L{library}/src-cpp "
        f"-Wl,-rpath,{library}/src:{library}/src-cpp",
        "npm_config_nodedir": str(node().parent.parent),
    }
    build = ("npm", "rebuild", "@confluentinc/kafka-javascript", "--build-from-source")
    run(*build, cwd=directory, environment=environment)


def _install_java_clients(directory: Path) -> None:
    """Resolve the jars, then compile the scenario with them."""
    need_programs({"mvn": "maven", "javac": "default-jdk-headless"})
    directory.mkdir(parents=True)
    pom = directory / "pom.xml"
    pom.write_text((REQUIREMENTS / "pom.xml").read_text())
    jars = directory / "jars"
    run("mvn", "-q", "-B", "-f", pom, "dependency:copy-dependencies", f"-DoutputDirectory={jars}")
    source = ROOT / "compat" / "clients" / "java" / "Scenario.java"
    run("javac", "-cp", f"{jars}/*", "-d", directory / "classes", source)


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """Something to install: what it is, what pins it, and how to make it."""

    name: str
    version: str
    recipe: Callable[[Path], None]
    """Makes the directory that it is given, which does not exist."""
    revision: int = 1
    """Of the recipe: one more when it makes something else of the same pins."""
    inputs: Sequence[Path] = ()
    """Files whose content is part of the pin."""
    needs: Sequence[str] = ()

    @property
    def directory(self) -> Path:
        """Where it is installed."""
        return CACHE / self.name

    def stamp(self) -> str:
        """Return what marks the directory as made from these pins."""
        digest = hashlib.sha256()
        for path in self.inputs:
            digest.update(path.read_bytes())
        return f"{self.version} {self.revision} {digest.hexdigest()[:16]}\n"

    def is_installed(self) -> bool:
        """Whether the directory has this very stamp."""
        path = self.directory / ".stamp"
        return path.exists() and path.read_text() == self.stamp()


COMPONENTS: Final = {
    component.name: component
    for component in (
        Component(
            name="python-clients",
            version="1",
            recipe=_python_environment("python-clients.txt"),
            inputs=(REQUIREMENTS / "python-clients.txt",),
        ),
        Component(
            name="quixstreams",
            version=QUIXSTREAMS_VERSION,
            recipe=_python_environment("quixstreams.txt"),
            inputs=(REQUIREMENTS / "quixstreams.txt",),
        ),
        Component(
            name="kafka-python-tests",
            version=KAFKA_PYTHON_VERSION,
            recipe=_install_kafka_python_tests,
            needs=("python-clients",),
        ),
        Component(name="kcat", version=KCAT_VERSION, recipe=_install_kcat),
        Component(
            name="java-clients",
            version=KAFKA_VERSION,
            recipe=_install_java_clients,
            inputs=(
                REQUIREMENTS / "pom.xml",
                ROOT / "compat" / "clients" / "java" / "Scenario.java",
            ),
        ),
        Component(
            name="librdkafka",
            version=LIBRDKAFKA_VERSION,
            recipe=_install_librdkafka,
            revision=2,
        ),
        Component(
            name="node-clients",
            version=NODE_VERSION,
            recipe=_install_node_clients,
            inputs=tuple(sorted(REQUIREMENTS.glob("node-clients/*"))),
        ),
        Component(
            name="confluent-javascript",
            version=KAFKA_JAVASCRIPT_VERSION,
            recipe=_install_confluent_javascript,
            inputs=tuple(sorted(REQUIREMENTS.glob("confluent-javascript/*"))),
            needs=("librdkafka", "node-clients"),
        ),
    )
}
"""By name, those that others need before them."""


def ensure(name: str) -> Path:
    """Return the directory of a component, installing it first where it is missing.

    Raises :exc:`NotAvailableError`; what was half made is gone then.
    """
    component = COMPONENTS[name]
    for needed in component.needs:
        ensure(needed)
    if component.is_installed():
        return component.directory
    say(f"{name} {component.version}: installing into {component.directory}")
    started_s = time.monotonic()
    shutil.rmtree(component.directory, ignore_errors=True)
    component.directory.parent.mkdir(parents=True, exist_ok=True)
    try:
        component.recipe(component.directory)
    except BaseException:
        shutil.rmtree(component.directory, ignore_errors=True)
        raise
    (component.directory / ".stamp").write_text(component.stamp())
    say(f"{name} {component.version}: ready after {time.monotonic() - started_s:.0f} s")
    return component.directory


def main(arguments: Sequence[str]) -> int:
    """Install the named components, or all; say at the end what could not be had."""
    unknown = sorted(set(arguments) - COMPONENTS.keys())
    if unknown:
        say(f"no component is called {', '.join(unknown)}; there are {', '.join(COMPONENTS)}")
        return 2
    refused: dict[str, str] = {}
    for name in arguments or COMPONENTS:
        try:
            ensure(name)
        except NotAvailableError as error:
            refused[name] = str(error)
    for name, reason in refused.items():
        say(f"{name} cannot be had here, what needs it will not be run: {reason}")
    ready = [name for name in arguments or COMPONENTS if name not in refused]
    say(f"ready: {', '.join(ready) or 'nothing'}")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
