"""What a release holds: the source release is the repository, and the wheel brings its types."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipapp
from importlib.metadata import distributions
from pathlib import Path
from zipfile import ZipFile

import pytest

import ipv8
from ipv8.__pyinstaller import get_hook_dirs, hidden_imports
from ipv8.class_tables import _BOOTSTRAPPERS, _COMMUNITIES, _WALKERS

ROOT = Path(__file__).resolve().parents[2]
ADDED_BY_SETUPTOOLS = ("PKG-INFO", "setup.cfg", "ipv8.egg-info/")

MISSPELT = """\
from ipv8 import lazy_wraper
"""
SERVICE = """\
from ipv8_service import IPv8
reveal_type(IPv8.get_overlay)
"""


def build(what: str, source: Path, target: Path) -> Path:
    """Build in ``source`` with the backend that pyproject.toml names, as tools for packaging do."""
    pytest.importorskip("setuptools", minversion="77", reason="this setuptools cannot read our pyproject.toml")
    program = f"import sys; from setuptools import build_meta; build_meta.build_{what}(sys.argv[1])"
    subprocess.run([sys.executable, "-c", program, target], cwd=source, check=True, capture_output=True)
    (result,) = target.glob("*.whl" if what == "wheel" else "*.tar.gz")
    return result


def files_below(directory: Path) -> set[str]:
    return {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what belongs to the repository, so that nothing is built in the original."""
    directory = tmp_path_factory.mktemp("copy") / "repository"
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").replace("/\n", "\n").split()
    shutil.copytree(ROOT, directory, ignore=shutil.ignore_patterns(".git", *ignored))
    return directory


@pytest.fixture(scope="module")
def source_release(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked source release."""
    directory = tmp_path_factory.mktemp("source")
    with tarfile.open(build("sdist", repository, directory)) as archive:
        for member in archive:
            if member.isfile():
                file = archive.extractfile(member)
                assert file is not None
                path = directory / member.name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(file.read())
    (unpacked,) = (path for path in directory.iterdir() if path.is_dir())
    return unpacked


@pytest.fixture(scope="module")
def python_of_user(source_release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheel of the source release, and with what it needs."""
    directory = tmp_path_factory.mktemp("user")
    venv.create(directory / "environment", symlinks=sys.platform != "win32")
    python = directory / "environment" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    site = Path(subprocess.run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], check=True,
                               capture_output=True, text=True).stdout.strip())
    with ZipFile(build("wheel", source_release, directory)) as wheel:
        wheel.extractall(site)
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    return python


def test_source_release_holds_the_repository(repository: Path, source_release: Path) -> None:
    """All that .gitignore does not name is in MANIFEST.in."""
    released, expected = ({name for name in files_below(directory) if not name.startswith(ADDED_BY_SETUPTOOLS)}
                          for directory in (source_release, repository))
    assert released == expected


@pytest.mark.slow
def test_installed_package_brings_its_types(python_of_user: Path, tmp_path: Path) -> None:
    """The programs of examples/ pass strict checks, a misspelt name does not, and ``ipv8_service`` is known."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "misspelt.py").write_text(MISSPELT, encoding="utf-8")
    (tmp_path / "service.py").write_text(SERVICE, encoding="utf-8")
    # Messages that name a format by number, DataClassPayload[1], are no types (doc/serialization.md).
    run = subprocess.run([sys.executable, "-m", "mypy", "--strict", "--python-executable", python_of_user,
                          "--disable-error-code=type-arg", "--disable-error-code=valid-type", "--cache-dir=cache",
                          "--explicit-package-bases", "--no-error-summary", "misspelt.py", "service.py", "examples"],
                         check=False, capture_output=True, text=True, cwd=tmp_path)
    misspelt, service = sorted(run.stdout.splitlines())
    assert 'misspelt.py:1: error: Module "ipv8" has no attribute "lazy_wraper"' in misspelt
    assert service.startswith('service.py:2: note: Revealed type is "def')
    assert "ipv8.service.IPv8" in service


def declarations(source: str) -> set[str]:
    """What a module imports and assigns, for type checkers too."""
    body = ast.parse(source).body
    for block in [block for block in body if isinstance(block, ast.If)]:
        test = ast.unparse(block.test)
        body += block.body if test == "TYPE_CHECKING" else block.orelse if test.startswith("not TYPE_CHECKING") else []
    return {ast.unparse(statement) for statement in body
            if isinstance(statement, ast.Assign)
            or (isinstance(statement, ast.ImportFrom) and str(statement.module).startswith("ipv8."))}


def test_stub_declares_what_the_module_has() -> None:
    module, stub = (declarations((ROOT / path).read_text(encoding="utf-8"))
                    for path in ("ipv8_service.py", "stubs/ipv8_service-stubs/__init__.pyi"))
    assert stub == module - {"from ipv8.reexports import reexports"}


def test_version_is_that_of_the_distribution() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'\nversion = "{ipv8.__version__}"\n' in text


EVERY_CLASS = """\
import asyncio, os, sys
import ipv8, ipv8_service
from ipv8 import Community, ConfigBuilder, IPv8, Strategy, WalkerDefinition, Bootstrapper, BootstrapperDefinition

class Own(Community):
    community_id = b"own!" * 5

async def main():
    for name in ipv8.__all__:
        getattr(ipv8, name)
    builder = ConfigBuilder().set_address("127.0.0.1").set_port(0).clear_keys().add_ephemeral_key("anonymous id")
    none = {"ip_addresses": [], "dns_addresses": []}
    bootstrappers = [BootstrapperDefinition(Bootstrapper.DispersyBootstrapper, none),
                     BootstrapperDefinition(Bootstrapper.MemoryBootstrapper, {"path": "peers"})]
    walkers = [WalkerDefinition(Strategy.EdgeWalk, 20, {}), WalkerDefinition(Strategy.RandomWalk, 20, {})]
    builder.add_overlay("Own", "anonymous id", walkers, bootstrappers, {}, [])
    for overlay in builder.config["overlays"][:-1]:
        overlay["bootstrappers"] = []
    async with IPv8(builder.finalize(), extra_communities={"Own": Own}) as node:
        print(sorted(type(overlay).__name__ for overlay in node.overlays), len(node.strategies))
    for table in (ipv8_service._COMMUNITIES, ipv8_service._WALKERS, ipv8_service._BOOTSTRAPPERS):
        print(sorted(table))
    print(ipv8.__version__, os.path.dirname(ipv8.__file__))

asyncio.run(main())
"""
EVERY_NAME = """\
['DHTDiscoveryCommunity', 'DiscoveryCommunity', 'HiddenTunnelCommunity', 'Own'] 8
['AttestationCommunity', 'DHTDiscoveryCommunity', 'DiscoveryCommunity', 'HiddenTunnelCommunity', 'IdentityCommunity', \
'TrustChainCommunity', 'TrustChainTestnetCommunity', 'TunnelCommunity']
['EdgeWalk', 'RandomWalk']
['DispersyBootstrapper', 'MemoryBootstrapper', 'MulticastBootstrapper', 'UDPBroadcastBootstrapper']
"""


@pytest.mark.slow
def test_application_in_a_zip_file(tmp_path: Path) -> None:
    """The library is in the file, and what it needs is in the environment."""
    application = tmp_path / "application"
    shutil.copytree(ROOT / "ipv8", application / "ipv8", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "ipv8_service.py", application)
    (application / "__main__.py").write_text(EVERY_CLASS, encoding="utf-8")
    archive = tmp_path / "application.pyz"
    zipapp.create_archive(application, archive)
    shutil.rmtree(application)
    run = subprocess.run([sys.executable, "-I", archive], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert run.stdout == f"{EVERY_NAME}{ipv8.__version__} {archive / 'ipv8'}\n"


def test_hook_for_frozen_applications_names_all_modules() -> None:
    (directory,) = get_hook_dirs()
    assert (Path(directory) / "hook-ipv8.py").exists()
    names = hidden_imports()
    classes = [found for table in (_COMMUNITIES, _WALKERS, _BOOTSTRAPPERS) for found in table.values()]
    assert {found.__module__ for found in classes} <= set(names)
    assert {"ipv8", "ipv8.dht", "ipv8.messaging.interfaces.portmapping.upnp"} <= set(names)
    assert not [name for name in names if name.startswith(("ipv8.test", "ipv8.cli"))]
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert '[project.entry-points.pyinstaller40]\nhook-dirs = "ipv8.__pyinstaller:get_hook_dirs"\n' in text


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_frozen_application(tmp_path: Path) -> None:
    """It needs PyInstaller in the environment and, on Linux, the binutils that it calls."""
    pytest.importorskip("PyInstaller")
    if sys.platform == "linux" and shutil.which("objdump") is None:
        pytest.skip("the command objdump is missing: install the package binutils")
    (tmp_path / "application.py").write_text(EVERY_CLASS, encoding="utf-8")
    (directory,) = get_hook_dirs()
    subprocess.run([sys.executable, "-m", "PyInstaller", "--log-level", "ERROR", "--paths", ROOT,
                    "--additional-hooks-dir", directory, "application.py"], cwd=tmp_path, check=True)
    run = subprocess.run([tmp_path / "dist" / "application" / "application"], cwd=tmp_path, check=True,
                         capture_output=True, text=True, env={})
    assert run.stdout.startswith(EVERY_NAME)


def test_distribution_that_stands_for_pyipv8(tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(ROOT / "packaging" / "pyipv8", source)
    target = tmp_path / "target"
    target.mkdir()
    with ZipFile(build("wheel", source, target)) as wheel:
        assert all(name.startswith("pyipv8-3.2.1.dist-info/") for name in wheel.namelist())
        wheel.extractall(target)
    (found,) = distributions(name="pyipv8", path=[str(target)])
    assert found.version == "3.2.1"
    assert found.requires == ["ipv8"]
