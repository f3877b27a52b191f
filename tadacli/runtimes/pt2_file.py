"""Files of torch.export, held to what ours hold before PyTorch reads them.

`torch.export.load` is not for files from outside: it unpickles weights, constants and sample inputs without limits,
loads compiled libraries, evaluates the texts of sizes and of guards as Python, and calls any function of torch that the
graph names. So the archive is looked through first. It may hold only plain numbers for weights, no sample inputs, no
guards, sizes that are numbers or the batch, and operations of networks from a list.
"""

from __future__ import annotations

import io
import math
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tadacli.errors import CheckpointError
from tadacli.runtimes.metadata import KEY, MOST_CHARACTERS
from tadacli.strict_tables import in_one_line, parse_json, refusing

METADATA_MEMBER = f"{KEY}.json"  # below extra/, where torch.export.save puts what it is given
_ROOT = "archive"
_MOST_MEMBERS, _MOST_GRAPH_BYTES = 1 << 14, 1 << 26
_MEMBERS = re.compile(
    r"models/model\.json|data/sample_inputs/model\.pt|data/weights/(?:weight_\d+|model_weights_config\.json)"
    r"|data/constants/(?:tensor_\d+|model_constants_config\.json)|extra/tada\.json|archive_format|archive_version"
    r"|byteorder|version|\.data/(?:version|serialization_id)|\.format_version|\.storage_alignment"
)
_CONFIGS = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
# A size is the batch, which has a letter and digits for a name, a number, or a sum or product of these.
_SIZE = re.compile(
    r"(?!.*\*\*)(?:Symbol\('[su]\d{1,6}'(?:, (?:positive|integer|nonnegative)=True)*\)|Integer\(-?\d{1,9}\)"
    r"|(?:Mul|Add|FloorDiv)\(|[su]?\d{1,9}|[-+*(), ])++"
)
_MOST_SIZE_CHARACTERS = 400
_NAME = re.compile(r"[A-Za-z0-9_.]{0,1000}|-Infinity")
_OTHER_TEXTS = frozenset(("expr_str", "torch_version", "in_spec", "out_spec"))
_CONTAINERS = (None, "builtins.tuple", "builtins.list", "builtins.dict")
_FOREIGN = frozenset(("as_graph", "as_custom_obj", "as_operator", "as_opaque_obj"))
_OPERATION = re.compile(r"torch\.ops\.aten\.(\w+)\.(\w+)")
# What the layers of our networks become; each computes from its arguments and does nothing else.
_OPERATIONS = frozenset(
    "_assert_tensor_metadata add add_ addcmul amax arange avg_pool3d batch_norm bitwise_not cat clamp contiguous "
    "conv1d conv2d conv3d detach div flatten flip gelu layer_norm linear log_softmax logsumexp "
    "masked_fill matmul max_pool2d mean movedim mT mul neg pad permute pow relu reshape rsqrt select sigmoid slice "
    "softmax softplus squeeze stack sub sum sym_size to transpose unbind unfold unsqueeze view".split()
)


def checked_content(file: Path) -> tuple[bytes, str | None]:
    """What a file of torch.export holds, as one that cannot run code, and the entry of ours, None where there is none.

    Raises:
        CheckpointError: It is no such file, or holds what ours never hold.
    """
    with refusing(file, CheckpointError), zipfile.ZipFile(file) as archive:
        members = _members(archive, file.stat().st_size)
        if f"extra/{METADATA_MEMBER}" not in members:
            return b"", None
        _check_plain(archive, members)
        text = _read(archive, members[f"extra/{METADATA_MEMBER}"], most=MOST_CHARACTERS)
        # PyTorch reads such files by another program, which may see other members in what is no proper archive.
        copy = io.BytesIO()
        with zipfile.ZipFile(copy, "w", zipfile.ZIP_STORED) as written:
            for name, member in members.items():
                written.writestr(f"{_ROOT}/{name}", archive.read(member))
        return copy.getvalue(), text.decode()


def _members(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """Its members by name below the one folder that they are in."""
    found = archive.infolist()
    if len(found) > _MOST_MEMBERS or sum(each.file_size for each in found) > size:
        raise ValueError("its members are larger than the file, or too many")
    if any(each.compress_type != zipfile.ZIP_STORED for each in found):
        raise ValueError("its members are compressed")
    roots = {each.filename.partition("/")[0] for each in found}
    members = {each.filename.partition("/")[2]: each for each in found}
    if len(roots) != 1 or len(members) != len(found):
        raise ValueError("its members are not in one folder, or one is there twice")
    return members


def _check_plain(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo]) -> None:
    for name in members:
        if not _MEMBERS.fullmatch(name):
            raise ValueError(f"it holds {in_one_line(name)}, which files of tada export do not")
    if members["data/sample_inputs/model.pt"].file_size:
        raise ValueError("it holds sample inputs, which files of tada export do not")
    for name in _CONFIGS:
        config = _json(archive, members[name])
        if not all(_NAME.fullmatch(each) for each in config["config"]):
            raise ValueError("it holds weights whose name is none")
        for payload in config["config"].values():
            path = payload["path_name"]
            if payload["use_pickle"] is not False or not re.fullmatch(r"(?:weight|tensor)_\d+", path):
                raise ValueError("it holds values that are pickled, and a pickle can run code")
            _check_tensor(payload["tensor_meta"], members[f"{name.rpartition('/')[0]}/{path}"].file_size)
    _check_program(_json(archive, members["models/model.json"]))


def _check_tensor(facts: Any, num_bytes: int) -> None:
    """Raises `ValueError` for a tensor with more values than the file has bytes for, or on another device."""
    if math.prod(int(size["as_int"]) for size in facts["sizes"]) > num_bytes or facts["device"]["type"] != "cpu":
        raise ValueError("it holds weights that are larger than the file")


def _check_program(program: Any) -> None:
    """Raises `ValueError` for a graph with anything but operations from the list, and for texts that are evaluated."""
    module = program["graph_module"]
    if program["guards_code"] or module["metadata"] or module["treespec_namedtuple_fields"]:
        raise ValueError("it holds guards, which are evaluated as Python, or types of its own")
    for size in program["range_constraints"]:
        _check_other_text("expr_str", size)
    others = {key: value for key, value in program.items() if key != "range_constraints"}
    for key, value in [*_leaves(others), *_leaves(list(program["range_constraints"].values()))]:
        if key in _OTHER_TEXTS:
            _check_other_text(key, value)
        elif isinstance(value, str) and not _NAME.fullmatch(value):  # names become parts of Python programs
            raise ValueError(f"it holds a name that is none: {in_one_line(value)}")
    for table in _tables(program):
        if not _FOREIGN.isdisjoint(table):
            raise ValueError("it holds a graph in its graph, or an object")
        if "target" in table and "inputs" in table:
            operation = _OPERATION.fullmatch(str(table["target"]))
            if operation is None or operation[1] not in _OPERATIONS:
                what = in_one_line(str(table["target"]))
                raise ValueError(f"it holds the operation {what}, which our networks do not have")
        if table.get("metadata"):
            raise ValueError("it says where its operations come from, which files of tada export do not")


def _check_other_text(key: str, value: Any) -> None:
    """Raises `ValueError` for a text with signs that names do not have, and is not what our files have there."""
    if key == "expr_str":
        if not isinstance(value, str) or len(value) > _MOST_SIZE_CHARACTERS or not _SIZE.fullmatch(value):
            raise ValueError(f"it holds a size that is an expression: {in_one_line(str(value))}")
    elif key == "torch_version":
        if not re.fullmatch(r"[\w.+-]{1,80}", str(value)):
            raise ValueError("its version of PyTorch is none")
    else:
        for table in _tables(parse_json(value)):
            context = parse_json(table["context"] or "null")
            names = [] if context is None else context
            if table["type"] not in _CONTAINERS or not all(_NAME.fullmatch(name) for name in names):
                raise ValueError("its inputs or outputs are neither tuples nor tables")


def _leaves(value: Any) -> Iterator[tuple[str, Any]]:
    """All keys, each as a value without a key, and all values that are no table or list, with the keys they are at."""
    waiting = [("", value)]
    while waiting:
        key, each = waiting.pop()
        if isinstance(each, dict):
            waiting.extend(("", name) for name in each)
            waiting.extend(each.items())
        elif isinstance(each, list):
            waiting.extend((key, part) for part in each)
        else:
            yield key, each


def _tables(value: Any) -> Iterator[dict[str, Any]]:
    """All tables in a value of JSON, however deep."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            yield each
            waiting.extend(each.values())
        elif isinstance(each, list):
            waiting.extend(each)


def _json(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Any:
    return parse_json(_read(archive, member, most=_MOST_GRAPH_BYTES))


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo, *, most: int) -> bytes:
    if member.file_size > most:
        raise ValueError(f"{in_one_line(member.filename)} in it is too large")
    return archive.read(member)
