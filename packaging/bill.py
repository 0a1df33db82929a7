#!/usr/bin/env python3
"""Writes what the product is made of: a bill of materials (CycloneDX 1.5, JSON), and the licences of the libraries in it.

    packaging/bill.py [--offline] DIR

DIR holds the built module and command; sbom.cdx.json and third-party-notices.txt are put beside them. Listed are the crates
that are linked into one of the two: not those that only build, test or generate code. Two runs give the same bytes.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

# Package of the workspace, built file, CycloneDX type.
PRODUCTS = [("pam_qrtotp", "libpam_qrtotp.so", "library"), ("qrtotp", "qrtotp", "application")]
# How files with licences begin, in capitals.
LICENCE_FILES = ("LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE")


def output_of(*command):
    """Standard output of a program; ends with its message where it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"bill.py: {' '.join(command)}: exit code {done.returncode}")
    return done.stdout


def compiler(what):
    """What the compiler says of itself: its "host", the target that is built for, or its "release"."""
    lines = output_of("rustc", "-vV").splitlines()
    return next(line.split(": ")[1] for line in lines if line.startswith(f"{what}: "))


def linked(offline):
    """Who is linked into whom: a list of (package, packages) and, by package, how it depends on others."""
    roots = [word for name, _, _ in PRODUCTS for word in ("-p", name)]
    what = ["-e", "normal,no-proc-macro", "--no-dedupe", "--prefix", "depth", "-f", "|{p}", "--target", compiler("host")]
    tree = output_of("cargo", "tree", "--locked", *offline, *roots, *what)
    above, edges, inside = [], {}, {}
    for line in tree.splitlines():
        depth, _, package = line.partition("|")
        if not depth:
            continue
        name, version = package.split(" ")[:2]
        key = (name, version.removeprefix("v"))
        above = above[: int(depth)] + [key]
        edges.setdefault(key, set())
        inside.setdefault(above[0][0], set()).add(key)
        if len(above) > 1:
            edges[above[-2]].add(key)
    return edges, inside


def checksums():
    """SHA-256 of the crates, by name and version, from Cargo.lock."""
    found, entry = {}, {}
    for line in Path("Cargo.lock").read_text(encoding="utf-8").splitlines():
        if line == "[[package]]":
            entry = {}
        key, separator, value = line.partition(" = ")
        if separator:
            entry[key] = value.strip('"')
        if key == "checksum":
            found[entry["name"], entry["version"]] = entry["checksum"]
    return found


def reference(key):
    """How a crate is named among others."""
    name, version = key
    return f"pkg:cargo/{name}@{version.replace('+', '%2B')}"


def expression(package):
    """The licence as SPDX writes it; old manifests part by a slash."""
    return (package["license"] or "NOASSERTION").replace("/", " OR ")


def component(key, package, checksum):
    """One crate."""
    found = {
        "type": "library",
        "bom-ref": reference(key),
        "name": key[0],
        "version": key[1],
        "description": package["description"] or "",
        "licenses": [{"expression": expression(package)}],
    }
    # Crates of the workspace are published nowhere.
    if checksum:
        found["purl"] = reference(key)
        found["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package["repository"]:
        found["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return found


def bill(folder, edges, inside, packages):
    """The bill of materials."""
    sums = checksums()
    version = packages[next(key for key in edges if key[0] == "qrtotp")]["version"]
    products, dependencies = [], []
    for name, file, kind in PRODUCTS:
        ref = f"file:{file}"
        digest = hashlib.sha256((folder / file).read_bytes()).hexdigest()
        products.append({
            "type": kind,
            "bom-ref": ref,
            "name": file,
            "version": version,
            "licenses": [{"expression": "MIT OR Apache-2.0"}],
            "hashes": [{"alg": "SHA-256", "content": digest}],
        })
        dependencies.append({"ref": ref, "dependsOn": ["rust-std", *sorted(reference(key) for key in inside[name])]})
    # The standard library of the compiler that is here; it is in both.
    std = {"type": "library", "bom-ref": "rust-std", "name": "std", "version": compiler("release")}
    std["licenses"] = [{"expression": "MIT OR Apache-2.0"}]
    std["purl"] = f"pkg:generic/rust-std@{std['version']}"
    products.append(std)
    crates = [component(key, packages[key], sums.get(key)) for key in sorted(edges)]
    dependencies += [
        {"ref": reference(key), "dependsOn": sorted(reference(other) for other in edges[key])} for key in sorted(edges)
    ]
    top = {"type": "application", "bom-ref": "qrtotp", "name": "qrtotp", "version": version}
    dependencies.insert(0, {"ref": "qrtotp", "dependsOn": [f"file:{file}" for _, file, _ in PRODUCTS]})
    when = time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", "0")))
    made = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", when),
            "component": top,
            "licenses": [{"expression": "MIT OR Apache-2.0"}],
        },
        "components": products + crates,
        "dependencies": dependencies,
    }
    # Named after what it says, so that the same product has the same bill.
    made["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(made, sort_keys=True))}"
    return made


def licence_texts(package):
    """The texts that come with a crate; where MIT may be chosen, that one alone."""
    folder = Path(package["manifest_path"]).parent
    files = sorted(file for file in folder.iterdir() if file.is_file() and file.name.upper().startswith(LICENCE_FILES))
    mit = [file for file in files if "MIT" in file.name.upper()]
    if mit and "MIT" in expression(package).split(" OR "):
        files = mit
    return [file.read_text(encoding="utf-8", errors="replace").strip().replace("\r", "") for file in files]


def notices(edges, packages):
    """The licences of all libraries; a text that several share stands once."""
    sharing = {}
    head = ["The libraries that are part of qrtotp, and their licences.", ""]
    for key in sorted(edges):
        package = packages[key]
        if package["source"] is None:
            continue
        authors = ", ".join(package["authors"])
        head.append(f"{key[0]} {key[1]}: {expression(package)}{f' ({authors})' if authors else ''}")
        for text in licence_texts(package):
            sharing.setdefault(text, []).append(f"{key[0]} {key[1]}")
    parts = ["\n".join(head)]
    parts += [f"{'-' * 78}\n{', '.join(names)}\n\n{text}" for text, names in sharing.items()]
    return "\n\n".join(parts) + "\n"


def main():
    """Reads the command line, writes both files."""
    arguments = sys.argv[1:]
    offline = [word for word in arguments if word == "--offline"]
    folders = [word for word in arguments if word != "--offline"]
    if len(folders) != 1 or folders[0].startswith("-"):
        sys.exit("usage: packaging/bill.py [--offline] DIR")
    folder = Path(folders[0])
    edges, inside = linked(offline)
    platform = ["--filter-platform", compiler("host")]
    metadata = json.loads(output_of("cargo", "metadata", "--format-version", "1", "--locked", *platform, *offline))
    packages = {(package["name"], package["version"]): package for package in metadata["packages"]}
    text = json.dumps(bill(folder, edges, inside, packages), indent=1, ensure_ascii=False)
    (folder / "sbom.cdx.json").write_text(text + "\n", encoding="utf-8")
    (folder / "third-party-notices.txt").write_text(notices(edges, packages), encoding="utf-8")


if __name__ == "__main__":
    main()
