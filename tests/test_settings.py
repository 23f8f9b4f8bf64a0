"""Claims about the settings: where they come from, what is told about a wrong one."""

from pathlib import Path

import platformdirs
import pytest

from inferpool.settings import FILE, SettingError, Settings, check_host, database, load, state_path


def loaded(folder: Path, environment: dict[str, str] | None = None, **flags: object) -> Settings:
    """The settings of a process that was started in that folder."""
    return load(flags, environment or {}, folder)


def refusal(folder: Path, environment: dict[str, str] | None = None, **flags: object) -> str:
    """The one line that a person reads."""
    with pytest.raises(SettingError) as told:
        loaded(folder, environment, **flags)
    line = str(told.value)
    assert "\n" not in line
    return line


def test_without_a_word_the_defaults_of_the_specification_hold(tmp_path: Path) -> None:
    settings = loaded(tmp_path)
    assert (settings.serve.host, settings.serve.port) == ("127.0.0.1", 8010)
    assert (settings.serve.grace_s, settings.serve.run_limit_s, settings.serve.stale_after_s) == (10, 3600, 90)
    assert settings.shared.server == ["http://127.0.0.1:8010"]
    assert settings.worker.slots is None


def test_a_flag_beats_the_environment_which_beats_the_file(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('port = 1\ngrace_s = 1.5\nhost = "::1"\n')
    settings = loaded(tmp_path, {"INFERPOOL_PORT": "2", "INFERPOOL_GRACE_S": "2.5"}, port=3)
    assert (settings.serve.port, settings.serve.grace_s, settings.serve.host) == (3, 2.5, "::1")


def test_a_flag_that_was_not_given_changes_nothing(tmp_path: Path) -> None:
    settings = loaded(tmp_path, {"INFERPOOL_ENGINE": "http://gpu:8000"}, engine=[], port=None)
    assert settings.worker.engine == ["http://gpu:8000"]
    assert settings.serve.port == 8010


def test_a_list_in_the_environment_is_parted_by_commas(tmp_path: Path) -> None:
    settings = loaded(tmp_path, {"INFERPOOL_SERVER": "http://a:8010, https://b"})
    assert settings.shared.server == ["http://a:8010", "https://b"]


def test_the_process_reads_its_own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INFERPOOL_SLOTS", "7")
    assert load({}).worker.slots == 7


def test_variables_of_other_programs_or_of_the_tests_are_left_alone(tmp_path: Path) -> None:
    assert loaded(tmp_path, {"PORT": "1", "INFERPOOL_TEST_ENGINE_PYTHON": "x"}) == loaded(tmp_path)


@pytest.mark.parametrize(
    ("variable", "value", "form"),
    [
        ("INFERPOOL_PORT", "http", "a port number up to 65535"),
        ("INFERPOOL_PORT", "70000", "a port number up to 65535"),
        ("INFERPOOL_GRACE_S", "0", "seconds, more than 0"),
        ("INFERPOOL_SLOTS", "none of them", "a whole number from 1 on"),
        ("INFERPOOL_LOG_FORMAT", "xml", "one of console, json"),
        ("INFERPOOL_SERVER", "ftp://a", "a list, each an address that begins with http:// or https://"),
        ("INFERPOOL_NAME", "my worker", "a name without spaces"),
        ("INFERPOOL_INSECURE", "perhaps", "true or false"),
    ],
)
def test_a_malformed_value_is_told_with_its_place_with_the_form_it_should_have(
    tmp_path: Path, variable: str, value: str, form: str
) -> None:
    line = refusal(tmp_path, {variable: value})
    assert line.startswith(f"{variable}: ")
    assert form in line


def test_a_malformed_flag_is_told_by_the_flag(tmp_path: Path) -> None:
    assert refusal(tmp_path, database_url="").startswith("--database-url: ")


def test_a_malformed_value_of_the_file_is_told_with_the_file(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("port = true\n")
    assert refusal(tmp_path).startswith(f"port in {tmp_path / FILE}: ")


def test_an_unknown_setting_is_told_with_the_nearest_that_exists(tmp_path: Path) -> None:
    assert (
        refusal(tmp_path, {"INFERPOOL_GRCE_S": "1"})
        == "INFERPOOL_GRCE_S: there is no such setting; did you mean grace_s?"
    )
    (tmp_path / FILE).write_text("zzzzzz = 1\n")
    assert "docs/reference/settings.md lists them" in refusal(tmp_path)


@pytest.mark.parametrize("content", [b"port = ", b"\xff\xfe"])
def test_a_file_that_is_no_toml_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    assert "cannot be read as TOML" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///var/lib/inferpool.db", "/var/lib/inferpool.db"),
        ("sqlite:////var/lib/inferpool.db", "/var/lib/inferpool.db"),
        ("sqlite:inferpool.db", "inferpool.db"),
        ("inferpool.db", "inferpool.db"),
        ("/var/lib/in:fer.db", "/var/lib/in:fer.db"),
        ("postgresql.db", "postgresql.db"),
        ("postgresql", "postgresql"),
    ],
)
def test_a_database_is_named_by_a_url_or_a_bare_path(url: str, path: str) -> None:
    assert database(url) == Path(path)


@pytest.mark.parametrize("url", ["postgresql://db/inferpool", "postgres://u:p@db:5432,db2/inferpool?sslmode=require"])
def test_a_database_of_postgres_is_named_by_its_url(url: str) -> None:
    assert database(url) == url


def test_a_url_that_is_refused_is_not_quoted_for_it_may_hold_a_password() -> None:
    with pytest.raises(SettingError) as refused:
        database("mysql://user:secret@localhost/inferpool")
    assert "secret" not in str(refused.value)


def test_without_a_url_the_database_lies_in_the_users_data_folder() -> None:
    assert database(None) == platformdirs.user_data_path("inferpool") / "inferpool.db"


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("sqlite://host/inferpool.db", "three slashes"),
        ("mysql://localhost/inferpool", "is no file"),
        ("sqlite::memory:", "is no file"),
        (":memory:", "is no file"),
        ("sqlite:", "is no file"),
    ],
)
def test_any_other_database_is_refused_with_a_remedy(url: str, word: str) -> None:
    with pytest.raises(SettingError, match=word):
        database(url)


def test_a_workers_state_lies_in_the_users_state_folder_unless_told() -> None:
    assert state_path(None) == platformdirs.user_state_path("inferpool")
    assert state_path("elsewhere") == Path("elsewhere")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"])
def test_a_server_may_listen_on_this_machine(host: str) -> None:
    check_host(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "gpu.example.com"])
def test_a_server_may_not_listen_to_others_while_there_is_no_token(host: str) -> None:
    with pytest.raises(SettingError, match="not a loopback address"):
        check_host(host)
