"""Secrets as files, commands and encodings have them, and what stands in their place without being one."""

import base64
import json
import random
from urllib.parse import quote

import pytest

from reasoning_bank.privacy.redaction import Redactor

from .samples import BASE64, HEX, WORD, some

REDACTOR = Redactor("redact", b"salt")
RANDOM = random.Random(11)
PASSWORD = f"{some(RANDOM, WORD, 9)}&{some(RANDOM, WORD, 3)}"
TOKEN = some(RANDOM, WORD, 40)
LINES = [some(RANDOM, BASE64, 64) for _ in range(3)]
BEGIN, END = (f"-----{edge} RSA PRIVATE KEY-----" for edge in ("BEGIN", "END"))
PEM = "\n".join([BEGIN, *LINES, END])
AWS_SECRET = some(RANDOM, BASE64, 40)


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


PAIR = encoded(f"deploy:{PASSWORD}")


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (json.dumps({"auths": {"https://index.docker.io/v1/": {"auth": PAIR}}}), PAIR),
        (f"//registry.example.com/:_auth={PAIR}", PAIR),
        (f"default login anonymous password {PASSWORD}", PASSWORD),
        (f"    client-key-data: {encoded(PEM)}", encoded(PEM)[40:80]),
        (f"aws configure set aws_secret_access_key {AWS_SECRET}", AWS_SECRET),
        (f"jdbc:oracle:thin:scott/{PASSWORD}@//db:1521/x", PASSWORD),
        (f"sqlplus -s scott/{PASSWORD}@ORCL", PASSWORD),
        (f"db.example.com:5432:app:bob:{PASSWORD}", PASSWORD),
        (f"mysqldump -u root -p{PASSWORD} app", PASSWORD),
        (f"sshpass -p '{PASSWORD}' ssh host", PASSWORD),
        (f"docker login -u bob -p {PASSWORD} registry.example.com", PASSWORD),
        (f"redis-cli -h cache -a {PASSWORD} ping", PASSWORD),
        (f"requirepass {PASSWORD}", PASSWORD),
        (f"openssl enc -aes-256-cbc -pass pass:{PASSWORD}", PASSWORD),
        (f"ENV DB_PASSWORD {PASSWORD}", PASSWORD),
        (f"Cookie: session={TOKEN}; theme=dark", TOKEN),
        (f"Set-Cookie: sid={TOKEN}; HttpOnly", TOKEN),
        (f'os.getenv("API_KEY", "{TOKEN}")', TOKEN),
        (f"Passwort: {PASSWORD}", PASSWORD),
        (f"Contraseña: {PASSWORD}", PASSWORD),
        (quote(f'{{"password":"{PASSWORD}"}}', safe=""), quote(PASSWORD)),
        (f"&quot;password&quot;:&quot;{PASSWORD}&quot;", PASSWORD.partition("&")[0]),
        (json.dumps(json.dumps(json.dumps({"password": PASSWORD}))), PASSWORD),
        (rf"\u0022password\u0022:\u0022{PASSWORD}\u0022", PASSWORD),
        (f"secret_key_base: {TOKEN * 3}", TOKEN),
        (quote(f"postgres://bob:{PASSWORD}@db/x", safe=""), quote(PASSWORD)),
        (f"https://bucket.example.com/x?X-Amz-Signature={HEX * 4}", HEX * 4),
        (f"APP_KEY=base64:{LINES[0][:43]}=", LINES[0][:43]),
        (f"bindpw {PASSWORD}", PASSWORD),
        (PEM.replace("\n", r"\\n"), LINES[1]),
        (quote(PEM, safe=""), quote(LINES[1], safe="")),
        (PEM.replace(" ", "+").replace("\n", "%0A"), LINES[1]),
        ("\n".join(["Private-Lines: 3", *LINES, f"Private-MAC: {some(RANDOM, HEX, 64)}"]), LINES[1]),
    ],
)
def test_secret_is_found_in_its_usual_form(text: str, secret: str) -> None:
    assert secret in text
    assert secret not in REDACTOR.text(text).text


@pytest.mark.parametrize(
    "clean",
    [
        f"client-certificate-data: {encoded('-----BEGIN CERTIFICATE-----' + LINES[0])}",
        '"auth": "required1234"',
        '("grant_type", "username", "password", "refresh_token")',
        "mysql -u root -p app",
        "docker run -p 8080:80 image",
        "ENV PASSWORD_FILE /run/secrets/db1",
        "session=requests.Session()",
        "image: postgres, ports: 5432:5432",
        "redis-cli -h cache -p 6379 ping",
    ],
)
def test_what_only_has_the_form_stays(clean: str) -> None:
    assert REDACTOR.text(clean).text == clean


@pytest.mark.parametrize(
    "piece",
    [
        "mysql -u ",
        "docker login ",
        "jdbc:oracle:thin:a",
        "sqlplus -a ",
        ":5432:a:a",
        "auth=aaaaaaaa",
        "LS0tLS1CRUdJTi",
        "-----BEGIN%20",
        "-----BEGIN PRIVATE KEY-----%0A",
        "Private-Lines: 1\naaaa\n",
        "default login ",
        '"password", ',
    ],
)
def test_repeated_beginnings_of_a_form_take_linear_time(piece: str) -> None:
    """The suite's time limit is the check: a square of this length takes minutes."""
    REDACTOR.text(piece * (200_000 // len(piece)))
