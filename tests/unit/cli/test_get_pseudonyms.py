"""`pacstream get-pseudonyms`, and the De-ID service as the source of a batch."""

from __future__ import annotations

import csv
import datetime
import ipaddress
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pacstream.errors import InputError, PacstreamError
from pacstream_cli.commands_pseudonyms import get_pseudonyms
from pacstream_cli.deid_api import DeidService, read_deid_config
from pacstream_cli.given_names import Source, source_of, with_names
from pacstream_cli.id_mapping import MappingError
from pacstream_cli.queryfile import read_queries
from tests.fakes.deid_service import TOKEN, DeidStandIn, serving

QUERY = "\ufeffPatientID,StudyDate\n0017,20240101\nA8,\n0017,20240202\n"


@pytest.fixture
def service() -> Iterator[DeidStandIn]:
    with serving(DeidStandIn()) as running:
        yield running


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DeidService.__init__, "__defaults__", (None, 5.0, 2.0, 3, 0.01))


def config_of(folder: Path, url: str, token: str = TOKEN) -> Path:
    path = folder / "deid.json"
    path.write_text(json.dumps({"deid_URL": url, "deid_token": token}))
    return path


def called(folder: Path, *arguments: object) -> Path:
    """The folder of the files. Raises what the command raises; no ID and no token is told."""
    given = ["-d", str(folder / "out"), *map(str, arguments)]
    done = CliRunner().invoke(get_pseudonyms, given)
    problems = "\n".join(getattr(done.exception, "problems", ()))
    for secret in ("0017", "A8", TOKEN):
        assert secret not in f"{done.output}{done.exception}{problems}"
    if done.exception is not None:
        raise done.exception
    assert done.exit_code == 0
    return folder / "out"


def de_id(folder: Path, service: DeidStandIn, query: str = QUERY, project: str = "P7") -> Path:
    (folder / "q.csv").write_text(query, "utf-8")
    config = config_of(folder, service.url)
    return called(folder, "-c", config, "-q", folder / "q.csv", "-a", project)


def read(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def test_the_service_is_asked_as_pacsifier_asked_it(tmp_path: Path, service: DeidStandIn) -> None:
    out = de_id(tmp_path, service)
    body = {"project": "P7", "PatientIDList": [{"PatientID": "0017"}, {"PatientID": "A8"}]}
    assert service.asked == [("/api/gpcr", body), ("/api/gpcr_shift", body)]
    assert {one["Authorization"] for one in service.headers} == {f"token {TOKEN}"}
    codes = read(out / "new_ids_P7.json")
    assert codes == {"sub-0017": "P7-00000043", "sub-A8": "P7-00000368"}
    assert read(out / "day_shift_P7.json") == {"sub-0017": -4, "sub-A8": -2}
    with (out / "log_get_pseudonyms.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert lines[2] == {
        "PatientID": "0017", "StudyDate": "20240202", "NewPseudonym": "P7-00000043",
        "DayShift": "-4",
    }  # fmt: skip
    assert len(lines) == 3


def test_500_patients_at_once_each_once(tmp_path: Path, service: DeidStandIn) -> None:
    ids = [f"X{number}" for number in range(501)]
    query = "PatientID\n" + "\n".join([*ids, *ids]) + "\n"
    out = de_id(tmp_path, service, query)
    assert service.sizes == [500, 1, 500, 1]
    assert len(read(out / "new_ids_P7.json")) == 501


def test_shifts_may_be_text(tmp_path: Path, service: DeidStandIn) -> None:
    service.shift_as_text = True
    assert read(de_id(tmp_path, service) / "day_shift_P7.json")["sub-A8"] == -2


def test_a_busy_service_is_tried_again(tmp_path: Path, service: DeidStandIn) -> None:
    service.codes = [503, 500, 200, 429]
    de_id(tmp_path, service)
    assert len(service.asked) == 5


@pytest.mark.parametrize("codes", [[500] * 9, [404], [302], [200, 403], [200, 500, 500, 500]])
def test_an_error_status_writes_nothing(
    codes: list[int], tmp_path: Path, service: DeidStandIn
) -> None:
    service.codes = codes
    with pytest.raises(InputError, match="De-ID service"):
        de_id(tmp_path, service)
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.parametrize(
    "spoilt",
    [
        None, [], "text", b"<html>", b"{'sub-0017': 'a'}", {}, {"sub-0017": "a"},
        {"sub-0017": None, "sub-A8": "b"}, {"sub-0017": True, "sub-A8": "b"},
        {"sub-0017": "", "sub-A8": "b"}, {"sub-0017": ["a"], "sub-A8": "b"},
        {"sub-0017": "same", "sub-A8": "SAME"}, {"sub-0017": "../x", "sub-A8": "b"},
    ],
)  # fmt: skip
def test_an_answer_that_can_not_be_used_writes_nothing(
    spoilt: object, tmp_path: Path, service: DeidStandIn
) -> None:
    service.spoil = lambda path, answer: answer if path.endswith("_shift") else spoilt
    with pytest.raises(InputError):
        de_id(tmp_path, service)
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.parametrize("spoilt", [None, {"sub-0017": 3}, {"sub-0017": 1.5, "sub-A8": 2}])
def test_shifts_that_can_not_be_used_write_nothing(
    spoilt: object, tmp_path: Path, service: DeidStandIn
) -> None:
    service.spoil = lambda path, answer: spoilt if path.endswith("_shift") else answer
    with pytest.raises(InputError):
        de_id(tmp_path, service)
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("StudyDate\n20240101\n", "no row has a PatientID"),
        ("PatientID,Modality\n,MR\n", "no row has a PatientID"),
        ("PatientID\nX*\n", "queryfile: 1 problem"),
        ("PatientID,Nonsense\nX1,2\n", "problem"),
    ],
)
def test_a_bad_query_file_is_told(
    query: str, words: str, tmp_path: Path, service: DeidStandIn
) -> None:
    with pytest.raises(InputError, match=words):
        de_id(tmp_path, service, query)
    assert service.asked == []


def test_a_wrong_token_is_told_and_not_repeated(tmp_path: Path, service: DeidStandIn) -> None:
    (tmp_path / "q.csv").write_text(QUERY, "utf-8")
    config = config_of(tmp_path, service.url, "w0rdwr0ng")
    with pytest.raises(InputError, match="deid_token") as refusal:
        called(tmp_path, "-c", config, "-q", tmp_path / "q.csv", "-a", "P7")
    assert "w0rdwr0ng" not in str(refusal.value)


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{}", '{"deid_URL": "https://x/y"}', '{"deid_token": "t"}',
        '{"deid_URL": "https://x/y", "deid_token": ""}',
        '{"deid_URL": "https://x/y", "deid_token": 7}',
        '{"deid_URL": "https://x/y", "deid_token": "t", "more": 1}',
        '{"deid_URL": "http://x.example/y", "deid_token": "t"}',
        '{"deid_URL": "https://user:pw@x/y", "deid_token": "t"}',
        '{"deid_URL": "https://x/y?z=1", "deid_token": "t"}',
        '{"deid_URL": "somewhere", "deid_token": "t"}',
    ],
)  # fmt: skip
def test_a_configuration_is_exactly_two_keys(text: str, tmp_path: Path) -> None:
    (tmp_path / "deid.json").write_text(text)
    with pytest.raises(InputError):
        read_deid_config(tmp_path / "deid.json")


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    authority = self_signed(tmp_path)
    (tmp_path / "q.csv").write_text(QUERY, "utf-8")
    with serving(DeidStandIn(certificate=authority)) as service:
        config = config_of(tmp_path, service.url)
        given = ("-c", config, "-q", tmp_path / "q.csv", "-a", "P7")
        with pytest.raises(InputError, match="certificate"):
            called(tmp_path, *given)
        assert service.asked == []
        called(tmp_path, *given, "--ca-file", authority)
    assert len(service.asked) == 2


def self_signed(folder: Path) -> Path:
    """Key and certificate of 127.0.0.1 in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = serialization.PrivateFormat.PKCS8
    path = folder / "server.pem"
    secret = key.private_bytes(pem, private, serialization.NoEncryption())
    path.write_bytes(secret + certificate.public_bytes(pem))
    return path


def custom(folder: Path, mapping: str, *more: object) -> Path:
    (folder / "map.csv").write_text(mapping, "utf-8")
    return called(folder, "-m", "custom", "-mf", folder / "map.csv", "-a", "P7", *more)


@pytest.mark.parametrize(
    "header", ["", "PatientID,new_ids\n", "Old name,New name\n", "\ufeffid;code\n"]
)
def test_a_mapping_of_ones_own_with_and_without_header(header: str, tmp_path: Path) -> None:
    text = f"{header}sub-0017,S1\nsub-A8,S2\n"
    if ";" in header:
        text = text.replace(",", ";")
    out = custom(tmp_path, text)
    assert read(out / "new_ids_P7.json") == {"sub-0017": "S1", "sub-A8": "S2"}
    assert read(out / "day_shift_P7.json") == {"sub-0017": 0, "sub-A8": 0}


def test_drawn_shifts_are_within_30_days_never_0_and_stay(tmp_path: Path) -> None:
    mapping = "".join(f"sub-X{number},S{number}\n" for number in range(200))
    first = read(custom(tmp_path, mapping, "--shift-days") / "day_shift_P7.json")
    assert {abs(days) for days in first.values()} <= set(range(1, 31))
    assert len(set(first.values())) > 30
    again = read(custom(tmp_path, f"{mapping}sub-Y,T\n", "--shift-days") / "day_shift_P7.json")
    assert first.items() <= again.items() and len(again) == 201


def test_only_the_patients_of_the_query_file(tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_text("PatientID\n0017\n")
    out = custom(tmp_path, "sub-0017,S1\nsub-A8,S2\n", "-q", tmp_path / "q.csv")
    assert read(out / "new_ids_P7.json") == {"sub-0017": "S1"}
    (tmp_path / "q.csv").write_text("PatientID\n0017\nZ9\n")
    with pytest.raises(MappingError) as refusal:
        custom(tmp_path, "sub-0017,S1\n", "-q", tmp_path / "q.csv")
    assert refusal.value.problems == ["row 3: the patient has no entry"]


@pytest.mark.parametrize("mapping", ["sub-0017,\nsub-A8,S2\n", "", "sub-0017,S1\nsub-A8,S1\n"])
def test_a_bad_mapping_writes_nothing(mapping: str, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        custom(tmp_path, mapping)
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.parametrize(
    "arguments",
    [("-a", "P7"), ("-a", "P7", "-m", "custom"), ("-a", "../x", "-m", "custom", "-mf", "m"),
     ("-a", "P7", "-m", "custom", "-mf", "missing")],
)  # fmt: skip
def test_what_is_missing_is_told(arguments: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(PacstreamError):
        called(tmp_path, *arguments)


def test_a_batch_may_ask_the_service(tmp_path: Path, service: DeidStandIn) -> None:
    (tmp_path / "q.csv").write_text(QUERY, "utf-8")
    queries = read_queries(tmp_path / "q.csv")
    source = source_of(f"api:{config_of(tmp_path, service.url)}", None)
    assert source is not None
    named = with_names(queries, source, "P7")
    assert [row.pseudonym for row in named.rows] == ["P7-00000043", "P7-00000368", "P7-00000043"]
    (tmp_path / "q.csv").write_text("PatientID,Modality\n0017,\n,MR\n")
    with pytest.raises(MappingError) as refusal:
        with_names(read_queries(tmp_path / "q.csv"), source, "P7")
    assert refusal.value.problems[0].startswith("row 3:")


def test_sources_of_pseudonyms() -> None:
    assert source_of("", None) is None and source_of("hmac", None) is None
    assert source_of("file:a.json", None) == Source("file", Path("a.json"))
    assert source_of("", Path("a.json")) == Source("file", Path("a.json"))
    for wrong in ("api", "file:", "hmac:x", "other"):
        with pytest.raises(InputError):
            source_of(wrong, None)
    with pytest.raises(InputError, match="exclude"):
        source_of("hmac", Path("a.json"))
