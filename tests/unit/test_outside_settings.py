"""Settings of what is outside: a wrong one is told at start, without the password that it may hold."""

import pytest

from runtime.errors import SettingsError
from runtime.settings import load_settings

WRONG = [
    ("SMTP_URL", "mail.example:587"),
    ("SMTP_URL", "https://ann:secret@mail.example"),
    ("SMTP_URL", "smtp://ann:secret@mail.example:many"),
    ("PUBLIC_URL", "shop.example"),
    ("SHIPPING_URL", "ftp://ann:secret@shipping.example"),
    ("DATA_PLATFORM_URL", "https://"),
    ("MAIL_FROM", "shop"),
    ("MAIL_FROM", "shop@example.com\nBcc: eve@example.com"),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_setting_is_one_line_that_names_it(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"READSIDE_{name}", value)

    with pytest.raises(SettingsError) as refused:
        load_settings()

    assert str(refused.value).startswith(f"READSIDE_{name}: not a")
    assert "\n" not in str(refused.value)
    assert "secret" not in str(refused.value)


def test_nothing_is_outside_unless_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SMTP_URL", "PUBLIC_URL", "SHIPPING_URL", "DATA_PLATFORM_URL"):
        monkeypatch.setenv(f"READSIDE_{name}", "")

    settings = load_settings()

    assert (settings.smtp_url, settings.public_url, settings.shipping_url, settings.data_platform_url) == (None,) * 4
