"""Prints the crates that are linked into the hub, each with its licence and authors, and the texts of their licences, each once.

usage: licences.py hub/Cargo.toml
"""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

# What crates call the files with their licences.
FILES = ("licen", "copying", "copyright", "notice", "unlicense")


def metadata(manifest):
    host = subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True).stdout
    (target,) = [line.split()[1] for line in host.splitlines() if line.startswith("host:")]
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--manifest-path", manifest, "--filter-platform", target]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def linked(resolve):
    """The ids of the root and of what it needs when it runs."""
    nodes = {node["id"]: node for node in resolve["nodes"]}
    wanted, found = [resolve["root"]], set()
    while wanted:
        name = wanted.pop()
        if name not in found:
            found.add(name)
            needs = nodes[name]["deps"]
            wanted += [need["pkg"] for need in needs if any(kind["kind"] is None for kind in need["dep_kinds"])]
    return found


def texts(package):
    for file in sorted(Path(package["manifest_path"]).parent.iterdir()):
        if file.name.lower().startswith(FILES) and file.is_file():
            yield file.read_text(errors="replace").strip() + "\n"


def main():
    described = metadata(sys.argv[1])
    ids = linked(described["resolve"])
    # Those without a source are this project's own.
    packages = [package for package in described["packages"] if package["id"] in ids and package["source"]]
    packages.sort(key=lambda package: (package["name"], package["version"]))
    numbers, shown = {}, []
    for package in packages:
        own = []
        for text in texts(package):
            digest = hashlib.sha256(" ".join(text.split()).encode()).hexdigest()
            if digest not in numbers:
                numbers[digest] = len(numbers) + 1
                shown.append(text)
            own.append(str(numbers[digest]))
        authors = ", ".join(package["authors"]) or "its authors"
        where = f"texts {', '.join(own)}" if own else "no text of its own"
        print(f"{package['name']} {package['version']}: {package['license'] or package['license_file']}; {authors}; {where}")
    for number, text in enumerate(shown, 1):
        print(f"\n{'-' * 30} text {number}\n\n{text}", end="")


if __name__ == "__main__":
    main()
