"""Makes the source package that installs without a network: `make release`.

It holds what git tracks, less what only tests need; the crates, in src/rust/vendor.tar.xz; and a Cargo.lock of its own,
whose versions are a subset of ours. `cargo build --locked --offline` wants every crate of a lock file to be there, so that
those for platforms that R has not, which are most of the bytes, are there by name alone.

usage: python3 tools/release.py build DIRECTORY    the tarball, in DIRECTORY
       python3 tools/release.py authors [--check]  write inst/AUTHORS, or fail if it is not what Cargo.lock says
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
AUTHORS = ROOT / "inst/AUTHORS"
# Where R is built and checked for CRAN, and what people have: Rtools for x86_64 and, by LLVM, for aarch64.
TARGETS = [
    "x86_64-unknown-linux-gnu",
    "aarch64-unknown-linux-gnu",
    "x86_64-unknown-linux-musl",
    "aarch64-unknown-linux-musl",
    "x86_64-apple-darwin",
    "aarch64-apple-darwin",
    "x86_64-pc-windows-gnu",
    "aarch64-pc-windows-gnullvm",
]
# Of a crate, what no build reads. Licences stay.
UNREAD = {"tests", "benches", "ci", ".github", "fuzz"}
UNREAD_FILES = {"Cargo.lock", "Cargo.toml.orig", ".cargo_vcs_info.json", "CHANGELOG.md"}
PICTURES = {".svg", ".png", ".gif", ".jpg", ".jpeg"}
# The tables of a crate by processor, of which R has these.
PROCESSORS = {"linux-raw-sys": ("src", {"x86_64", "aarch64"})}
# Crates with a directory for each of their features, below this one.
BY_FEATURE = {"windows-sys": "src/Windows"}
LARGEST = 10_000_000


def run(*words, cwd=None):
    return subprocess.run(words, cwd=cwd, check=True, stdout=subprocess.PIPE, text=True).stdout


def copy_sources(place):
    """What git tracks, as it is in the working tree."""
    for name in run("git", "ls-files", "-z", cwd=ROOT).split("\0"):
        if name and (ROOT / name).exists():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, place / name)


def without_tables(toml, is_unwanted):
    """A manifest without the tables of which the header is unwanted."""
    kept, keep = [], True
    for line in toml.splitlines(keepends=True):
        if header := re.match(r"\[\[?([^]]+)\]", line):
            keep = not is_unwanted(header[1])
        if keep:
            kept.append(line)
    return "".join(kept)


def reduce_workspace(workspace):
    """Takes out what only tests need, and brings the lock file in line. It stays a subset of ours."""
    ours = (workspace / "Cargo.lock").read_text()
    for manifest in workspace.glob("crates/*/Cargo.toml"):
        toml = manifest.read_text()
        manifest.write_text(
            without_tables(toml, lambda header: header.endswith("dev-dependencies") or header in ("test", "bench", "example"))
        )
        for unread in ("tests", "examples", "benches"):
            shutil.rmtree(manifest.parent / unread, ignore_errors=True)
    # Without `--locked` cargo drops what nothing needs any more, and keeps the versions of the rest.
    metadata(workspace)
    reduced = (workspace / "Cargo.lock").read_text()
    added = locked(reduced) - locked(ours)
    if added:
        sys.exit(f"The reduced lock file has what ours has not: {sorted(added)}")


def locked(lock):
    packages = tomllib.loads(lock)["package"]
    return {(it["name"], it["version"], it.get("source"), it.get("checksum")) for it in packages}


def metadata(workspace, *options):
    words = ("cargo", "metadata", "--format-version", "1", "--manifest-path", str(workspace / "Cargo.toml"), *options)
    return json.loads(run(*words))


def crates_in_use(workspace):
    """The crates that a build on one of R's platforms compiles: what cargo says of each, with the `features` in use."""
    used, features = {}, {}
    for target in TARGETS:
        said = metadata(workspace, "--locked", "--filter-platform", target)
        nodes = {node["id"]: node for node in said["resolve"]["nodes"]}
        packages = {package["id"]: package for package in said["packages"]}
        waiting, seen = list(said["workspace_members"]), set()
        while waiting:
            one = waiting.pop()
            if one in seen:
                continue
            seen.add(one)
            deps = nodes[one]["deps"]
            waiting += [dep["pkg"] for dep in deps if any(kind["kind"] != "dev" for kind in dep["dep_kinds"])]
        used |= {one: packages[one] for one in seen if packages[one]["source"]}
        for one in seen:
            features.setdefault(one, set()).update(nodes[one]["features"])
    return [package | {"features": features[one]} for one, package in used.items()]


def vendor(workspace, crates):
    """Puts the crates beside the workspace, as one archive, with the configuration that leads cargo to it."""
    used = {(it["name"], it["version"]): it["features"] for it in crates}
    scratch = workspace / "vendor"
    options = ("--locked", "--versioned-dirs", "--manifest-path", str(workspace / "Cargo.toml"))
    subprocess.run(("cargo", "vendor", "--quiet", *options, str(scratch)), check=True, stdout=subprocess.DEVNULL)
    for crate in scratch.iterdir():
        package = tomllib.loads((crate / "Cargo.toml").read_text())["package"]
        checksum = json.loads((crate / ".cargo-checksum.json").read_text())["package"]
        features = used.get((package["name"], package["version"]))
        if features is not None:
            for unread in UNREAD:
                # A module may have such a name; what is beside the manifest is none.
                shutil.rmtree(crate / unread, ignore_errors=True)
            leave_out(crate, package["name"], features)
        else:
            leave_the_name(crate)
        # Files are missing, so that none is listed; the crate's own checksum is what the lock file asks for.
        (crate / ".cargo-checksum.json").write_text(json.dumps({"files": {}, "package": checksum}))
    archive = workspace / "vendor.tar.xz"
    with tarfile.open(archive, "w:xz", preset=9) as tar:
        tar.add(scratch, "vendor", filter=anonymous)
    shutil.rmtree(scratch)
    # Relative to the directory that holds .cargo, which is src.
    (workspace / "vendor-config.toml").write_text(
        '[source.crates-io]\nreplace-with = "vendored-sources"\n\n[source.vendored-sources]\ndirectory = "vendor"\n'
    )


def leave_out(crate, name, features):
    """Pictures, and what is for other processors or features."""
    for file in crate.rglob("*"):
        if file.suffix in PICTURES or file.parent == crate and file.name in UNREAD_FILES:
            file.unlink()
    if name in BY_FEATURE:
        place = crate / BY_FEATURE[name]
        for directory in sorted((it for it in place.rglob("*") if it.is_dir()), reverse=True):
            feature = "_".join(directory.relative_to(place).parts)
            if not any(it == feature or it.startswith(feature + "_") for it in features):
                shutil.rmtree(directory)
    if name in PROCESSORS:
        place, wanted = PROCESSORS[name]
        for directory in (crate / place).iterdir():
            if directory.is_dir() and directory.name not in wanted:
                shutil.rmtree(directory)


def leave_the_name(crate):
    manifest = (crate / "Cargo.toml").read_text()
    for entry in crate.iterdir():
        if entry.name not in ("Cargo.toml", ".cargo-checksum.json"):
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    library = tomllib.loads(manifest).get("lib", {}).get("path", "src/lib.rs")
    (crate / library).parent.mkdir(parents=True, exist_ok=True)
    (crate / library).write_text("")
    build = tomllib.loads(manifest)["package"].get("build")
    if isinstance(build, str):
        (crate / build).parent.mkdir(parents=True, exist_ok=True)
        (crate / build).write_text("fn main() {}\n")
    manifest = without_tables(manifest, lambda header: header in ("bin", "test", "bench", "example"))
    (crate / "Cargo.toml").write_text(manifest)


def anonymous(entry):
    """The same archive whoever makes it, and whenever."""
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    entry.mode = 0o755 if entry.isdir() else 0o644
    return entry


def authors(crates):
    """Who wrote the crates that are compiled in, and under which licence: the form that CRAN asks for."""
    lines = [
        "The Rust crates that are compiled into this package's shared object and commands, or bring them about, with their",
        "authors as they name themselves, and licences. Written by tools/release.py.",
        "",
    ]
    for package in sorted(crates, key=lambda it: (it["name"], it["version"])):
        names = [re.sub(r"\s*<[^>]*>", "", name) for name in package["authors"]]
        if not package["license"]:
            sys.exit(f"{package['name']} {package['version']} names no licence.")
        lines.append(f"{package['name']} {package['version']}")
        lines.append(f"  authors: {', '.join(names) if names else 'the ' + package['name'] + ' developers'}")
        lines.append(f"  licence: {package['license']}")
        if package["repository"]:
            lines.append(f"  source:  {package['repository']}")
        lines.append("")
    return "\n".join(lines)


def reduced_copy(place):
    """The workspace of a copy of the sources, and the crates that it uses."""
    copy_sources(place)
    workspace = place / "src" / "rust"
    reduce_workspace(workspace)
    return workspace, crates_in_use(workspace)


def check_authors(crates):
    if not AUTHORS.exists() or AUTHORS.read_text() != authors(crates):
        sys.exit("inst/AUTHORS is not what Cargo.lock says: run python3 tools/release.py authors")


def build(directory):
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch) / "entrar"
        workspace, crates = reduced_copy(place)
        check_authors(crates)
        vendor(workspace, crates)
        environment = os.environ | {"_R_BUILD_RESAVE_DATA_": "no"}
        subprocess.run(("R", "CMD", "build", "--no-manual", "entrar"), cwd=scratch, env=environment, check=True)
        [tarball] = Path(scratch).glob("entrar_*.tar.gz")
        directory.mkdir(parents=True, exist_ok=True)
        made = directory / tarball.name
        shutil.copy2(tarball, made)
    size = made.stat().st_size
    print(f"{made}: {size / 1e6:.1f} MB, with {len(crates)} crates")
    if size > LARGEST:
        sys.exit(f"That is more than {LARGEST / 1e6:.0f} MB.")


def write_authors(check):
    with tempfile.TemporaryDirectory() as scratch:
        _, crates = reduced_copy(Path(scratch) / "entrar")
    if check:
        check_authors(crates)
    else:
        AUTHORS.write_text(authors(crates))


def main():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build").add_argument("directory", type=Path)
    commands.add_parser("authors").add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    if arguments.command == "build":
        build(arguments.directory.resolve())
    else:
        write_authors(arguments.check)


if __name__ == "__main__":
    main()
