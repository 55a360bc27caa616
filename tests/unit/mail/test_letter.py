"""A letter as an RFC 5322 message: whatever names and addresses hold, it has one recipient and no headers of theirs."""

from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default

import pytest

from command.mail import Letter, Undeliverable
from command.mail.letter import as_bytes, composed, recipient_of, sender_of
from runtime.errors import SettingsError

SENDER = sender_of("The Shop <shop@example.com>")


def a_letter(**fields: str) -> Letter:
    """To Ann, unless told otherwise."""
    values = {"name": "event-1", "to_name": "Ann", "to_address": "ann@example.com", "subject": "Hi", "text": "Hello\n"}
    return Letter(**values | fields)


def read(letter: Letter) -> EmailMessage:
    """The message as its receiver's program understands it."""
    message = message_from_bytes(as_bytes(composed(letter, SENDER)), policy=default)
    assert isinstance(message, EmailMessage)
    return message


def body(message: EmailMessage) -> str:
    """The text alone."""
    content: str = message.get_content()
    return content.replace("\r\n", "\n")


def test_a_letter_arrives_as_it_was_written() -> None:
    message = read(a_letter(to_name="김철수", subject="주소 확인", text="안녕하세요, 김철수님\n"))

    assert (message["To"].addresses[0].display_name, message["Subject"]) == ("김철수", "주소 확인")
    assert body(message) == "안녕하세요, 김철수님\n"
    assert str(message["From"]) == str(SENDER)
    assert message["Message-ID"] == "<event-1@example.com>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Date"].datetime.tzinfo is not None


def test_headers_are_ascii_on_the_wire() -> None:
    head, _, _ = as_bytes(composed(a_letter(to_name="김철수", subject="주소 확인"), SENDER)).partition(b"\r\n\r\n")

    assert head.isascii()


@pytest.mark.parametrize("ending", ["\r\n", "\n", "\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\0"])
def test_no_name_and_no_subject_adds_a_header(ending: str) -> None:
    told = f"Ann{ending}Bcc: everybody@example.com"

    message = read(a_letter(to_name=told, subject=told))

    assert "Bcc" not in message
    assert [one.addr_spec for one in message["To"].addresses] == ["ann@example.com"]
    assert sorted(message.keys()) == sorted(read(a_letter()).keys())


@pytest.mark.parametrize(
    "name", ['Ann" <eve@example.com>, "', "Ann, eve@example.com", "<eve@example.com>", "(eve)", "\\"]
)
def test_no_name_adds_a_recipient(name: str) -> None:
    message = read(a_letter(to_name=name))

    assert [(one.display_name, one.addr_spec) for one in message["To"].addresses] == [(name, "ann@example.com")]


@pytest.mark.parametrize("user", ["ann+tag", "a,b", "<eve>", 'a"b', "a\\", "(ann)", "a;b:c", "o'neill"])
def test_an_odd_address_is_quoted_and_stays_one(user: str) -> None:
    message = read(a_letter(to_address=f"{user}@example.com"))

    assert [(one.username, one.domain) for one in message["To"].addresses] == [(user, "example.com")]


@pytest.mark.parametrize(
    "domain", ["", "x,y", "x>", "-", "a..b", "한글..kr", "x" * 64, "[127.0.0.1]", "a b", "a\r\nBcc"]
)
def test_what_is_no_host_gets_no_mail(domain: str) -> None:
    with pytest.raises(Undeliverable):
        composed(a_letter(to_address=f"ann@{domain}"), SENDER)


def test_an_international_domain_is_written_as_the_name_system_has_it() -> None:
    assert recipient_of(composed(a_letter(to_address="ann@한글.kr"), SENDER)) == "ann@xn--bj0bj06e.kr"


def test_an_international_mailbox_survives() -> None:
    message = composed(a_letter(to_address="김@example.com"), SENDER)

    assert recipient_of(message) == "김@example.com"
    assert "To: Ann <김@example.com>\r\n".encode() in as_bytes(message)


@pytest.mark.parametrize("mail_from", ["", "shop", "shop@", "@example.com", "shop@my_host"])
def test_a_sender_that_is_no_address_is_a_wrong_setting(mail_from: str) -> None:
    with pytest.raises(SettingsError, match="READSIDE_MAIL_FROM"):
        sender_of(mail_from)
