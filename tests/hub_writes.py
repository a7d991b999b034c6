"""The stand-in Hub's endpoints that write: create, preupload, large files, metadata, commit.

Written after what huggingface_hub 2.4 sends and expects; the real Hub's words of refusal may differ.
"""

import base64
import hashlib
import json
from collections.abc import Callable

import yaml
from hub_state import LARGE, Hub, Reply, Repo, Seen, as_json, blob_id, refuse

SIZES = {"n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B", "1B<n<10B"}
LICENSES = ("apache-2.0", "mit", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "odc-by", "gpl-3.0", "llama3.1", "other")
"""Some of those that the Hub knows."""
ATTRIBUTES = b"".join(b"*%s filter=lfs diff=lfs merge=lfs -text\n" % suffix.encode() for suffix in LARGE)
FORBIDDEN = (403, "", "You don't have the rights to write here")


def whoami(hub: Hub, seen: Seen) -> Reply:
    known = seen.token in hub.writers | hub.members
    return as_json({"name": "me", "type": "user"}) if known else refuse(401, "", "Invalid username or password.")


def create(hub: Hub, seen: Seen) -> Reply:
    if seen.token not in hub.writers:
        return refuse(401 if not seen.token else 403, "", "You don't have the rights to create a repository here")
    asked = json.loads(seen.body)
    if asked["organization"] not in (None, "me"):
        return refuse(403, "", f"You don't have the rights to create here under {asked['organization']}")
    kind = "datasets" if asked.get("type") == "dataset" else "models"
    repo_id = f"{asked['organization'] or 'me'}/{asked['name']}"
    if repo_id in hub.of_kind(kind):
        return refuse(409, "", "You already created this repo")
    repo = hub.of_kind(kind)[repo_id] = Repo(private=asked.get("visibility") == "private")
    repo.add({".gitattributes": ATTRIBUTES})
    return as_json({"url": f"{hub.url}/{'datasets/' if kind == 'datasets' else ''}{repo_id}"})


def preupload(hub: Hub, seen: Seen, repo: Repo, **_: str) -> Reply:
    """Which files go to the storage of large files, and what the repository holds under their names."""
    if seen.token not in hub.writers:
        return refuse(*FORBIDDEN)
    files = []
    for asked in json.loads(seen.body)["files"]:
        large = asked["path"].endswith(LARGE)
        held = repo.files.get(asked["path"])
        oid = held if held is None else hashlib.sha256(held).hexdigest() if large else blob_id(held)
        mode = "lfs" if large else "regular"
        files.append({"path": asked["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
    return as_json({"files": files})


def batch(hub: Hub, seen: Seen, **_: str) -> Reply:
    """Where to put the large files that are not there yet."""
    if seen.token not in hub.writers:
        return refuse(*FORBIDDEN)
    objects = []
    for asked in json.loads(seen.body)["objects"]:
        upload = {"href": f"{hub.storage_url}/{asked['oid']}", "header": {}}
        actions = {"upload": upload, "verify": {"href": f"{hub.url}/verify", "header": {}}}
        objects.append(asked if asked["oid"] in hub.stored else asked | {"actions": actions})
    return as_json({"transfer": "basic", "objects": objects})


def put(hub: Hub, seen: Seen, oid: str) -> Reply:
    hub.stored[oid] = seen.body
    return 200, {}, b""


def verify(hub: Hub, seen: Seen) -> Reply:
    asked = json.loads(seen.body)
    if hashlib.sha256(hub.stored.get(asked["oid"], b"")).hexdigest() == asked["oid"]:
        return as_json({})
    hub.stored.pop(asked["oid"], None)
    return refuse(422, "", "The uploaded file does not have the expected size or digest")


def validate_yaml(hub: Hub, seen: Seen) -> Reply:
    """What the Hub checks of a card's metadata, as far as we know it."""
    asked = json.loads(seen.body)
    text = asked["content"]
    metadata = yaml.safe_load(text.split("---\n", 2)[1]) if text.startswith("---\n") else {}
    known = metadata.get("license") in LICENSES
    errors = [] if known else [f'"license" must be one of [{", ".join(LICENSES)}]']
    if asked["repoType"] == "dataset":
        errors += [f'"{size}" is no size category' for size in set(metadata.get("size_categories", [])) - SIZES]
        names = [config["config_name"] for config in metadata.get("configs", [])]
        errors += ["config names are not unique"] * (len(names) != len(set(names)))
    found = {"errors": [{"message": error} for error in errors], "warnings": []}
    return (400 if errors else 200), {"Content-Type": "application/json"}, json.dumps(found).encode()


def commit(hub: Hub, seen: Seen, repo: Repo, repo_id: str, kind: str, revision: str) -> Reply:
    if seen.token not in hub.writers:
        return refuse(*FORBIDDEN)
    lines = [json.loads(line) for line in seen.body.splitlines()]
    header = lines[0]["value"]
    if header.get("parentCommit") not in (None, repo.commit(revision)):
        return refuse(412, "", "A commit has happened since. Please refresh and try again.")
    files = dict(repo.files)
    for line in lines[1:]:
        value = line["value"]
        if line["key"] == "deletedFile":
            del files[value["path"]]
        elif line["key"] == "file":
            files[value["path"]] = base64.b64decode(value["content"])
        elif value["oid"] in hub.stored:
            files[value["path"]] = hub.stored[value["oid"]]
        else:
            return refuse(400, "", f"LFS pointer pointed to a file that does not exist: {value['path']}")
    oid = repo.add(files)
    url = f"{hub.url}/{'datasets/' if kind == 'datasets' else ''}{repo_id}/commit/{oid}"
    return as_json({"success": True, "commitOid": oid, "commitUrl": url})


_REPO = r"(?P<repo_id>[\w.-]+/[\w.-]+)"
_API = rf"/api/(?P<kind>datasets|models)/{_REPO}"
ROUTES: list[tuple[str, str, Callable[..., Reply]]] = [
    ("hub GET", r"/api/whoami-v2", whoami),
    ("hub POST", r"/api/repos/create", create),
    ("hub POST", r"/api/validate-yaml", validate_yaml),
    ("hub POST", rf"{_API}/preupload/(?P<revision>[^/]+)", preupload),
    ("hub POST", rf"{_API}/commit/(?P<revision>[^/]+)", commit),
    ("hub POST", rf"/(?:(?P<kind>datasets)/)?{_REPO}\.git/info/lfs/objects/batch", batch),
    ("hub POST", r"/verify", verify),
    ("storage PUT", r"/(?P<oid>[0-9a-f]{64})", put),
]
