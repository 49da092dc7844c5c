"""An object store with S3's interface: files under their paths, with SHA-256."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pacstream.errors import InputError, RetryLaterError
from pacstream_exporter.delivery.credentials import Credentials
from pacstream_exporter.delivery.destination import ObjectStore
from pacstream_exporter.delivery.inventory import Item, digest_of
from pacstream_exporter.delivery.outcome import (
    Deliveries,
    Delivery,
    Evidence,
    State,
    all_failed,
    failed,
)

try:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError
except ImportError:
    raise InputError(
        "s3:// needs the extra `s3`: pip install 'pacstream[s3]'", code="missing_extra"
    ) from None

LARGEST = 5 * 1000**3
"""Bytes of one PUT."""
MARK = "sha256"
"""Metadata of our objects, for stores that tell no checksum."""
NOT_THERE = frozenset({"404", "NoSuchKey", "NotFound"})
DENIED = frozenset({"403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"})
NO_BUCKET = frozenset({"NoSuchBucket"})
PASSING = frozenset({"SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "503"})


class ObjectCarrier:
    """`replace`: also what lies there with other content."""

    instances_only = False
    asked = frozenset({Evidence.CHECKSUM, Evidence.SIZE})

    def __init__(
        self,
        destination: ObjectStore,
        credentials: Credentials,
        *,
        replace: bool,
        timeout_s: float,
        connection_timeout_s: float,
    ) -> None:
        self._bucket = destination.bucket
        self._prefix = destination.prefix
        self._replace = replace
        config = Config(
            connect_timeout=connection_timeout_s,
            read_timeout=timeout_s,
            retries={"max_attempts": 1},
            max_pool_connections=32,
        )
        try:
            self._client: Any = boto3.session.Session().client(
                "s3",
                endpoint_url=destination.endpoint or None,
                aws_access_key_id=credentials.user or None,
                aws_secret_access_key=credentials.password or None,
                verify=credentials.ca_file or None,
                config=config,
            )
        except (BotoCoreError, ValueError) as error:
            raise InputError(f"s3:// can't be set up ({type(error).__name__})") from None

    def check(self) -> None:
        try:
            self._client.head_bucket(Bucket=self._bucket)
        except ClientError as error:
            code = _code(error)
            if code in NOT_THERE | NO_BUCKET:
                raise InputError("s3://: there is no such bucket") from None
            if code in DENIED:
                raise InputError("s3://: access to the bucket is denied") from None
            raise RetryLaterError(
                "the object store does not answer as it should", code="destination_unreachable"
            ) from None
        except BotoCoreError as error:
            if type(error).__name__ == "NoCredentialsError":
                raise InputError(
                    "s3://: there are no credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
                    "a profile of the AWS tools, or the file of credentials"
                ) from None
            raise RetryLaterError(
                f"no answer ({type(error).__name__})", code="destination_unreachable"
            ) from None

    def lots(self, items: Sequence[Item], jobs: int) -> Iterator[Sequence[Item]]:
        return ([item] for item in items)

    def send(self, items: Sequence[Item]) -> Deliveries:
        for item in items:
            try:
                yield self._put(item)
            except ClientError as error:
                yield _failed(item, _code(error))
            except BotoCoreError:
                yield failed(item, "destination_unreachable", again=True)
            except OSError:
                yield failed(item, "unreadable")

    def _put(self, item: Item) -> Delivery:
        if item.size > LARGEST:
            return failed(item, "too_large")
        digest = digest_of(item.path)
        evidence, is_other = self._evidence(item, digest)
        if evidence is not None:
            return Delivery(item, State.DELIVERED, evidence=evidence, was_there=True)
        if is_other and not self._replace:
            return failed(item, "other_content_there")
        with item.path.open("rb") as file:
            # The store computes it from what came, and refuses anything else.
            self._client.put_object(
                Bucket=self._bucket,
                Key=self._key(item),
                Body=file,
                ChecksumAlgorithm="SHA256",
                ChecksumSHA256=_base64(digest),
                Metadata={MARK: digest},
            )
        evidence, _ = self._evidence(item, digest)
        if evidence is None:
            return failed(item, "content_differs", again=True)
        return Delivery(item, State.DELIVERED, evidence=evidence)

    def _evidence(self, item: Item, digest: str) -> tuple[Evidence | None, bool]:
        """How it is known that this content is there; and whether another content is."""
        try:
            head = self._client.head_object(
                Bucket=self._bucket, Key=self._key(item), ChecksumMode="ENABLED"
            )
        except ClientError as error:
            if _code(error) in NOT_THERE:
                return None, False
            raise
        if head["ContentLength"] != item.size:
            return None, True
        checksum = head.get("ChecksumSHA256", "")
        if checksum:
            is_same = checksum == _base64(digest)
            return (Evidence.CHECKSUM, False) if is_same else (None, True)
        is_marked = head.get("Metadata", {}).get(MARK) == digest
        return (Evidence.SIZE, False) if is_marked else (None, True)

    def _key(self, item: Item) -> str:
        return self._prefix + item.name

    def verify(self, sent: Iterable[Delivery]) -> Iterator[Delivery]:
        """What an earlier run has sent: looked at again."""
        for one in sent:
            yield from self.send([one.item])


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _failed(item: Item, code: str) -> Delivery:
    if code in DENIED:
        return failed(item, "access_denied")
    if code in NOT_THERE | NO_BUCKET:
        return failed(item, "not_found")
    if code in PASSING or code.startswith("5"):
        return failed(item, "out_of_resources", again=True)
    if code in ("BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"):
        return failed(item, "content_differs", again=True)
    return all_failed([item], "request_refused")[0]


def _base64(digest: str) -> str:
    return base64.b64encode(bytes.fromhex(digest)).decode("ascii")
