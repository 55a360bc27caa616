"""Both ways to send a mail: files, and SMTP to a real server, with TLS, passwords, and servers that do not behave."""

import asyncio
import ipaddress
import os
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import aiosmtplib
import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from command.mail import Letter, Undeliverable, smtp
from command.mail.files import FileMailer
from command.mail.ports import mailer
from command.mail.smtp import SmtpMailer
from events.reaction import NotNow
from runtime.clock import now
from runtime.outside_http import OutsideError
from runtime.settings import Settings

SENDER = "가게 <shop@example.com>"
LETTER = Letter(
    name="01a1fd9a-0f1b-7755-bf54-6e41f8a8e764",
    to_name="김철수",
    to_address="chulsoo@example.com",
    subject="주소 확인",
    text="안녕하세요, 김철수님\n.\nA line that is a dot ended the mail too early once.\n",
)


def read(raw: bytes) -> EmailMessage:
    """As the receiver's program understands it."""
    message = message_from_bytes(raw, policy=default)
    assert isinstance(message, EmailMessage)
    return message


def assert_is_the_letter(raw: bytes) -> None:
    """Nothing was lost on the way."""
    message = read(raw)
    [to] = message["To"].addresses
    assert (to.display_name, to.addr_spec, message["Subject"]) == (LETTER.to_name, LETTER.to_address, LETTER.subject)
    assert (str(message["From"]), message["Message-ID"]) == (SENDER, f"<{LETTER.name}@example.com>")
    assert message.get_content().replace("\r\n", "\n") == LETTER.text


class TestFiles:
    """The default."""

    async def test_a_mail_is_a_file_that_any_mail_program_opens(self, tmp_path: Path) -> None:
        await FileMailer(tmp_path / "mail", SENDER).send(LETTER)

        [file] = (tmp_path / "mail").iterdir()
        assert file.name == f"{LETTER.name}.eml"
        assert_is_the_letter(file.read_bytes())

    async def test_a_repeat_replaces_the_first(self, tmp_path: Path) -> None:
        for text in ("first\n", "second\n"):
            await FileMailer(tmp_path, SENDER).send(
                Letter(LETTER.name, LETTER.to_name, LETTER.to_address, LETTER.subject, text)
            )

        [file] = await asyncio.to_thread(os.listdir, tmp_path)
        assert read((tmp_path / file).read_bytes()).get_content() == "second\r\n"

    async def test_nobody_else_on_the_machine_reads_it(self, tmp_path: Path) -> None:
        await FileMailer(tmp_path / "mail", SENDER).send(LETTER)

        [file] = (tmp_path / "mail").iterdir()
        assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)

    async def test_a_disk_that_does_not_take_it_is_waited_for(self, tmp_path: Path) -> None:
        (tmp_path / "mail").write_text("a file stands where the folder should be")

        with pytest.raises(NotNow):
            await FileMailer(tmp_path / "mail", SENDER).send(LETTER)


@dataclass
class MailServer:
    """What a mail server was sent, and how it is to behave."""

    port: int = 0
    received: list[Envelope] = field(default_factory=list)
    were_encrypted: list[bool] = field(default_factory=list)
    logins: list[tuple[bytes, bytes]] = field(default_factory=list)
    refuses_recipient: str | None = None
    refuses_message: str | None = None

    # The names of these two are aiosmtpd's.
    async def handle_RCPT(  # noqa: N802
        self, _server: SMTP, _session: Any, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """To whom."""
        if self.refuses_recipient is not None:
            return self.refuses_recipient
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, session: Any, envelope: Envelope) -> str:  # noqa: N802
        """What."""
        if self.refuses_message is not None:
            return self.refuses_message
        self.received.append(envelope)
        self.were_encrypted.append(session.ssl is not None)
        return "250 taken"

    def login(self, _server: SMTP, _session: Any, _envelope: Envelope, _mechanism: str, login: Any) -> AuthResult:
        """Anybody whose password is right."""
        assert isinstance(login, LoginPassword)
        self.logins.append((login.login, login.password))
        return AuthResult(success=login.password == "p@ss:wörd/".encode(), handled=False)


@asynccontextmanager
async def a_mail_server(
    *, tls: ssl.SSLContext | None = None, from_the_start: bool = False, **options: Any
) -> AsyncIterator[MailServer]:
    """aiosmtpd on a free port of this machine."""
    house = MailServer()

    def serve() -> SMTP:
        starttls = None if from_the_start else tls
        return SMTP(house, tls_context=starttls, authenticator=house.login, hostname="localhost", **options)

    listening = await asyncio.get_running_loop().create_server(
        serve, "127.0.0.1", 0, ssl=tls if from_the_start else None
    )
    house.port = listening.sockets[0].getsockname()[1]
    try:
        yield house
    finally:
        listening.close()
        await listening.wait_closed()


@dataclass(frozen=True)
class Certificate:
    """Self-signed, for this machine."""

    server: ssl.SSLContext
    client: ssl.SSLContext


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail server of a test")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now() - timedelta(days=1))
        .not_valid_after(now() + timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, key_pem = folder / "cert.pem", folder / "key.pem"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    encoding = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    key_pem.write_bytes(key.private_bytes(*encoding))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem, key_pem)
    return Certificate(server, ssl.create_default_context(cafile=str(pem)))


class TestSmtp:
    """By `READSIDE_SMTP_URL`."""

    async def test_a_mail_arrives_as_it_was_written(self) -> None:
        async with a_mail_server(enable_SMTPUTF8=True) as house:
            await SmtpMailer(f"smtp://127.0.0.1:{house.port}", SENDER).send(LETTER)

        [envelope] = house.received
        assert (envelope.mail_from, envelope.rcpt_tos) == ("shop@example.com", [LETTER.to_address])
        assert isinstance(envelope.content, bytes)
        assert_is_the_letter(envelope.content)

    async def test_a_repeat_has_the_same_message_id(self) -> None:
        async with a_mail_server() as house:
            for _ in range(2):
                await SmtpMailer(f"smtp://127.0.0.1:{house.port}", SENDER).send(LETTER)

        identities = {read(envelope.content)["Message-ID"] for envelope in house.received if envelope.content}  # type: ignore[arg-type]
        assert (len(house.received), len(identities)) == (2, 1)

    async def test_tls_is_begun_where_the_server_offers_it(self, certificate: Certificate) -> None:
        async with a_mail_server(tls=certificate.server) as house:
            await SmtpMailer(f"smtp://127.0.0.1:{house.port}", SENDER, tls=certificate.client).send(LETTER)

        assert house.were_encrypted == [True]

    @pytest.mark.parametrize(("scheme", "from_the_start"), [("smtp", False), ("smtps", True)])
    async def test_a_password_goes_through_tls(
        self, certificate: Certificate, scheme: str, from_the_start: bool
    ) -> None:
        options = {"auth_require_tls": not from_the_start}  # of TLS from the start, aiosmtpd's session knows nothing
        async with a_mail_server(tls=certificate.server, from_the_start=from_the_start, **options) as house:
            url = f"{scheme}://ann%40shop:p%40ss%3Aw%C3%B6rd%2F@127.0.0.1:{house.port}"
            await SmtpMailer(url, SENDER, tls=certificate.client).send(LETTER)

        assert house.logins == [(b"ann@shop", "p@ss:wörd/".encode())]
        assert len(house.received) == 1

    async def test_a_password_is_not_told_to_a_server_that_offers_no_tls(self) -> None:
        async with a_mail_server(auth_require_tls=False) as house:
            with pytest.raises(aiosmtplib.SMTPException):
                await SmtpMailer(f"smtp://ann:secret@127.0.0.1:{house.port}", SENDER).send(LETTER)

        assert (house.logins, house.received) == ([], [])

    async def test_a_certificate_that_nobody_vouches_for_is_refused(self, certificate: Certificate) -> None:
        async with a_mail_server(tls=certificate.server) as house:
            with pytest.raises((aiosmtplib.SMTPException, ssl.SSLError)):
                await SmtpMailer(f"smtp://127.0.0.1:{house.port}", SENDER).send(LETTER)

        assert house.received == []

    async def test_a_wrong_password_is_worth_another_attempt(self, certificate: Certificate) -> None:
        async with a_mail_server(tls=certificate.server) as house:
            with pytest.raises(aiosmtplib.SMTPAuthenticationError):
                await SmtpMailer(f"smtp://ann:wrong@127.0.0.1:{house.port}", SENDER, tls=certificate.client).send(
                    LETTER
                )

    @pytest.mark.parametrize(
        ("said", "raised"),
        [
            ("550 5.1.1 no such mailbox", Undeliverable),
            ("550 5.1.2 no such host", Undeliverable),
            ("450 4.2.1 busy, come back", aiosmtplib.SMTPRecipientsRefused),
            ("554 5.7.1 relay access denied", aiosmtplib.SMTPRecipientsRefused),
            ("550 no", aiosmtplib.SMTPRecipientsRefused),
        ],
    )
    async def test_only_a_mailbox_that_is_not_there_is_given_up(self, said: str, raised: type[Exception]) -> None:
        async with a_mail_server() as house:
            house.refuses_recipient = said
            with pytest.raises(raised):
                await SmtpMailer(f"smtp://127.0.0.1:{house.port}", SENDER).send(LETTER)

    async def test_a_refused_message_is_worth_another_attempt(self) -> None:
        async with a_mail_server() as house:
            house.refuses_message = "554 5.6.0 we do not like it"
            with pytest.raises(aiosmtplib.SMTPDataError):
                await SmtpMailer(f"smtp://127.0.0.1:{house.port}", SENDER).send(LETTER)

    async def test_a_server_that_is_dead_is_an_error(self, unused_tcp_port_factory: Callable[[], int]) -> None:
        with pytest.raises(aiosmtplib.SMTPConnectError):
            await SmtpMailer(f"smtp://127.0.0.1:{unused_tcp_port_factory()}", SENDER).send(LETTER)

    @pytest.mark.parametrize("drips", [False, True])
    async def test_a_server_that_does_not_come_to_the_point_is_an_error(
        self, monkeypatch: pytest.MonkeyPatch, drips: bool
    ) -> None:
        monkeypatch.setattr(smtp, "TIMEOUT_SECONDS", 5.0 if drips else 0.3)
        monkeypatch.setattr(smtp, "_PATIENCE_SECONDS", 0.3 if drips else 5.0)
        over = asyncio.Event()

        async def mumble(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while drips and not over.is_set():
                writer.write(b"220-please hold the line\r\n")
                await asyncio.sleep(0.05)
            await over.wait()
            writer.close()

        async with await asyncio.start_server(mumble, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(OutsideError, match="did not answer in time"):
                await SmtpMailer(f"smtp://127.0.0.1:{port}", SENDER).send(LETTER)
            over.set()


def test_the_settings_decide_which(settings: Settings) -> None:
    by_smtp = settings.model_copy(update={"smtp_url": "smtps://ann:secret@mail.example"})

    assert isinstance(mailer(settings), FileMailer)
    assert isinstance(mailer(by_smtp), SmtpMailer)
