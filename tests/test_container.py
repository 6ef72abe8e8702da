"""The container files name flags, addresses and files that exist. No container is built here: that takes a registry of images."""

import json
import re
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from conftest import ROOT
from podium.cli.parser import parse
from podium.web.access import read_token
from serving import TOKEN, Served, real

DOCKERFILE = (ROOT / "Dockerfile").read_text()
LINES = re.sub(r"\\\n\s*", "", DOCKERFILE).splitlines()
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SCRAPE = yaml.safe_load(COMPOSE["configs"]["prometheus"]["content"])["scrape_configs"][0]


def told(instruction):
    """What follows an instruction, each time it stands in the Dockerfile."""
    return [line.partition(" ")[2] for line in LINES if line.split(" ")[0] == instruction]


@pytest.mark.parametrize("command", [json.loads(told("CMD")[0]), COMPOSE["services"]["podium"]["command"]])
def test_the_server_is_started_with_flags_that_it_has(command):
    program, *verb = json.loads(told("ENTRYPOINT")[0])
    found = parse([*verb, *command])
    assert (program, found.verb, found.host, found.port) == ("podium", "serve", "0.0.0.0", int(told("EXPOSE")[0]))
    assert [Path(word).suffix for word in found.models] == [".onnx"], "a run would need torch"
    if found.token_file is not None:
        assert found.token_file == Path("/run/secrets") / COMPOSE["services"]["podium"]["secrets"][0]


def test_what_is_built_is_in_the_repository():
    ignored = (ROOT / ".dockerignore").read_text()
    copied = [word for line in told("COPY") if "--from" not in line for word in line.split()[:-1]]
    for name in copied:
        assert (ROOT / name).exists()
        assert f"\n!{name}\n" in ignored, f"{name} is kept from the build"
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {needed["readme"], *needed["license-files"]} <= set(copied)


def test_the_lock_has_what_serving_needs_in_the_versions_that_are_tested():
    """By the requirements that the installed packages have themselves."""
    lock = (ROOT / "serve.lock").read_text()
    locked = dict(re.findall(r"^([\w.-]+)==(\S+)", lock, re.MULTILINE))
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    pinned = {canonicalize_name(name): version for name, version in pinned.items()}
    assert {name: pinned[name] for name in locked} == locked, "make lock writes it again"
    assert all("--hash=sha256:" in part for part in re.split(r"^(?=[\w.-]+==)", lock, flags=re.MULTILINE)[1:])
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    waiting = [Requirement(each) for each in (*needed["dependencies"], *needed["optional-dependencies"]["serve"])]
    for each in waiting:  # grows while it is read
        name = canonicalize_name(each.name)
        assert name in locked, "make lock writes it again"
        others = map(Requirement, metadata.requires(name) or ())
        extras = each.extras or {""}
        waiting += [
            o
            for o in others
            if any(o.marker is None or o.marker.evaluate({"extra": e}) for e in extras)
            and canonicalize_name(o.name) not in {canonicalize_name(w.name) for w in waiting}
        ]
    assert set(locked) == {canonicalize_name(each.name) for each in waiting}


def test_it_runs_as_nobody_on_images_that_have_a_tag():
    assert all(re.fullmatch(r"python:3\.\d+-slim-\w+( AS \w+)?", base) for base in told("FROM"))
    assert LINES.index(f"USER {told('USER')[0]}") < LINES.index(f"ENTRYPOINT {told('ENTRYPOINT')[0]}")
    assert int(told("USER")[0]) > 0
    for name, service in COMPOSE["services"].items():
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"]), name
        assert all(port.startswith("127.0.0.1:") for port in service["ports"]), name
        assert "image" not in service or re.search(r":v[\d.]+$", service["image"]), name
    assert {*COMPOSE["services"]["podium"]["secrets"]} <= {*COMPOSE["secrets"]}


def test_the_check_of_health_and_prometheus_ask_for_what_the_server_answers(tmp_path):
    _, code = told("HEALTHCHECK")[0].split("CMD ")[0], json.loads(told("HEALTHCHECK")[0].split("CMD ")[1])
    program, *words = code
    assert program == "python"
    with Served(real(), token=TOKEN) as server:
        here = [word.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}") for word in words]
        done = subprocess.run([sys.executable, *here], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
        (tmp_path / "token").write_text(TOKEN + "\n")
        request = urllib.request.Request(server.url + SCRAPE["metrics_path"])
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(request, timeout=30)
        request.add_header("Authorization", f"Bearer {read_token(tmp_path / 'token')}")
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert b"podium_requests_total" in answer.read()
    done = subprocess.run([sys.executable, *here], capture_output=True, text=True, timeout=60)
    assert done.returncode != 0, "a server that has ended is not well"
    assert SCRAPE["authorization"]["credentials_file"] == "/run/secrets/token"
    (target,) = SCRAPE["static_configs"][0]["targets"]
    name, _, port = target.partition(":")
    assert name in COMPOSE["services"]
    assert port == told("EXPOSE")[0]
