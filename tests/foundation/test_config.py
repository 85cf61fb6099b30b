"""Configuration names the line and the key of what is wrong."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from kessai.foundation.config import ConfigError, Settings, TomlDocument, load_settings, load_toml
from kessai.foundation.errors import OperatorError


class Kind(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the examples."""

    name: str
    amount: int = 1
    days: list[int] = []


TEXT = """\
# a comment
[kinds.one]
name = "one"
days = [
  1,   # [not.a.table]
  2,
]

[kinds.two]
amount = 2
name = '''
[kinds.fake]
'''
dotted.inner = { deep = 1 }

[[rows]]
id = 1
[[rows]]
id = 2
[rows.part]
x = 1
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("kinds", "one"), 2),
        (("kinds", "one", "days"), 4),
        (("kinds", "two"), 9),
        (("kinds", "two", "name"), 11),
        (("kinds", "two", "dotted", "inner", "deep"), 14),
        (("rows", 0), 16),
        (("rows", 1, "id"), 19),
        (("rows", 1, "part", "x"), 21),
        (("kinds", "one", "absent"), 2),
        (("absent",), 1),
    ],
)
def test_line_of_a_key_is_found(path: tuple[str | int, ...], line: int) -> None:
    assert TomlDocument(TEXT, "example.toml").line_of(*path) == line


def test_unknown_key_is_refused_with_its_line() -> None:
    document = TomlDocument('[kinds.one]\nname = "a"\namuont = 3\n', "kinds.toml")
    with pytest.raises(ConfigError, match=r"^kinds\.toml, line 3: kinds\.one\.amuont: unknown key$"):
        document.table("kinds", Kind)


def test_value_of_the_wrong_type_is_refused_with_its_line() -> None:
    document = TomlDocument('[kinds.one]\nname = "a"\ndays = [1,\n"x"]\n', "kinds.toml")
    with pytest.raises(ConfigError, match=r"line 3: kinds\.one\.days\.1: expected `int`, got `str`"):
        document.table("kinds", Kind)


def test_missing_key_is_refused_with_the_line_of_its_table() -> None:
    document = TomlDocument("\n[kinds.one]\namount = 3\n", "kinds.toml")
    with pytest.raises(ConfigError, match=r"line 2: kinds\.one\.name: is missing"):
        document.table("kinds", Kind)


def test_a_table_beside_the_expected_one_is_refused() -> None:
    document = TomlDocument('[kinds.one]\nname = "a"\n[kidns.two]\nname = "b"\n', "kinds.toml")
    with pytest.raises(ConfigError, match=r"line 3: kidns: unknown key"):
        document.table("kinds", Kind)


def test_text_that_is_not_toml_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"broken\.toml: .*line 1"):
        TomlDocument("a = = 1", "broken.toml")


@pytest.mark.parametrize("name", ["account_types.toml", "payment_kinds.toml"])
def test_the_platforms_own_files_are_indexed(name: str) -> None:
    document = load_toml("kessai.config", name)
    ((root, tables),) = document.data.items()
    assert len({document.line_of(root, table) for table in tables}) == len(tables)


def test_flags_win_over_environment_and_environment_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "kessai.toml"
    file.write_text('port = 1\ngrpc_port = 2\nhost = "::1"\n')
    environment = {"KESSAI_GRPC_PORT": "3", "KESSAI_PORT": "4", "OTHER": "x"}
    settings = load_settings({"port": 5, "workers": None}, file=file, environment=environment)
    assert (settings.port, settings.grpc_port, settings.host, settings.workers) == (5, 3, "::1", 1)


def test_unknown_key_in_the_settings_file_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "kessai.toml"
    file.write_text('host = "127.0.0.1"\nprot = 1\n')
    with pytest.raises(ConfigError, match=r"line 2: prot: unknown key"):
        load_settings({}, file=file, environment={})


def test_unknown_environment_variable_is_refused() -> None:
    with pytest.raises(ConfigError, match="KESSAI_DATABSE_URL is unknown"):
        load_settings({}, environment={"KESSAI_DATABSE_URL": "postgresql://x"})


def test_wrong_environment_variable_and_flag_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="KESSAI_WORKERS is wrong"):
        load_settings({}, environment={"KESSAI_WORKERS": "many"})
    with pytest.raises(ConfigError, match=r"--grpc-port: expected `int` <= 65535"):
        load_settings({"grpc_port": 70_000}, environment={})


def test_variables_that_a_cluster_sets_for_a_service_are_not_settings() -> None:
    environment = {"KESSAI_PORT": "tcp://10.0.0.1:8080", "KESSAI_SERVICE_HOST": "10.0.0.1", "KESSAI_PORT_80_TCP": "x"}
    assert load_settings({}, environment=environment) == Settings()


def test_missing_settings_file_is_one_sentence() -> None:
    with pytest.raises(OperatorError, match="cannot be read"):
        load_settings({}, file=Path("/nonexistent/kessai.toml"), environment={})
