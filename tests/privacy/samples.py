"""Made-up secrets of every kind, put together at run time: no secret scanner should find one in this repository."""

import base64
import json
import random
import string
from collections.abc import Callable, Mapping, Sequence

WORD = string.ascii_letters + string.digits
HEX = "0123456789abcdef"
UPPER = string.ascii_uppercase + string.digits
BASE32 = string.ascii_uppercase + "234567"
URL_SAFE = WORD + "_-"
BASE64 = WORD + "+/"


def some(rng: random.Random, alphabet: str, length: int) -> str:
    """Random characters of which at least one is a digit, as in nearly every real key."""
    characters = [rng.choice(alphabet) for _ in range(length)]
    characters[rng.randrange(1, length - 1)] = rng.choice("234567")
    return "".join(characters)


def _jwt(rng: random.Random) -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    claims = {"sub": str(rng.randrange(10**9)), "name": "Ada", "iat": rng.randrange(10**9)}
    return f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(claims)}.{some(rng, URL_SAFE, 43)}"


def _uuid(rng: random.Random) -> str:
    return "-".join(some(rng, HEX, length) for length in (8, 4, 4, 4, 12))


def _pem(rng: random.Random) -> str:
    lines = [some(rng, BASE64, 64) for _ in range(rng.randrange(4, 20))]
    name = rng.choice(["RSA PRIVATE KEY", "PRIVATE KEY", "OPENSSH PRIVATE KEY", "EC PRIVATE KEY"])
    return "\n".join([f"-----BEGIN {name}-----", *lines, some(rng, BASE64, 22) + "==", f"-----END {name}-----"])


PROVIDER_KEYS: Mapping[str, Callable[[random.Random], str]] = {
    "AWS access key": lambda r: "AK" + "IA" + some(r, BASE32, 16),
    "AWS session key": lambda r: "AS" + "IA" + some(r, BASE32, 16),
    "GitHub classic": lambda r: "gh" + "p_" + some(r, WORD, 36),
    "GitHub server": lambda r: "gh" + "s_" + some(r, WORD, 36),
    "GitHub fine-grained": lambda r: "github" + "_pat_" + some(r, WORD, 22) + "_" + some(r, WORD, 59),
    "GitLab": lambda r: "gl" + "pat-" + some(r, URL_SAFE, 20),
    "Anthropic": lambda r: "sk-" + "ant-api03-" + some(r, URL_SAFE, 93) + "AA",
    "OpenRouter": lambda r: "sk-" + "or-v1-" + some(r, HEX, 64),
    "OpenAI project": lambda r: "sk-" + "proj-" + some(r, URL_SAFE, 74) + "T3Blbk" + "FJ" + some(r, URL_SAFE, 74),
    "OpenAI legacy": lambda r: "sk-" + some(r, WORD, 48),
    "DeepSeek": lambda r: "sk-" + some(r, HEX, 32),
    "Google API": lambda r: "AI" + "za" + some(r, URL_SAFE, 35),
    "Google OAuth": lambda r: "GOC" + "SPX-" + some(r, URL_SAFE, 28),
    "Google access": lambda r: "ya" + "29." + some(r, URL_SAFE, 60),
    "Stripe live": lambda r: "sk" + "_live_" + some(r, WORD, 24),
    "Stripe restricted": lambda r: "rk" + "_test_" + some(r, WORD, 24),
    "Slack bot": lambda r: "xo" + "xb-" + some(r, string.digits, 12) + "-" + some(r, WORD, 24),
    "Slack app": lambda r: "xa" + "pp-1-" + some(r, UPPER, 11) + "-" + some(r, string.digits, 13),
    "Telegram": lambda r: some(r, string.digits, 10) + ":A" + "A" + some(r, URL_SAFE, 33),
    "Twilio": lambda r: "S" + "K" + some(r, HEX, 32),
    "SendGrid": lambda r: "S" + "G." + some(r, URL_SAFE, 22) + "." + some(r, URL_SAFE, 43),
    "Mailgun": lambda r: "key" + "-" + some(r, HEX, 32),
    "Mailchimp": lambda r: some(r, HEX, 32) + "-" + "us" + str(r.randrange(1, 21)),
    "npm": lambda r: "np" + "m_" + some(r, WORD, 36),
    "PyPI": lambda r: "py" + "pi-AgEIcHlwaS5vcmc" + some(r, URL_SAFE, 130),
    "Hugging Face": lambda r: "h" + "f_" + some(r, WORD, 34),
    "DigitalOcean": lambda r: "do" + "p_v1_" + some(r, HEX, 64),
    "Shopify": lambda r: "shp" + "at_" + some(r, HEX, 32),
    "Square": lambda r: "sq0" + "atp-" + some(r, URL_SAFE, 22),
    "Databricks": lambda r: "da" + "pi" + some(r, HEX, 32),
    "Vault": lambda r: "hv" + "s." + some(r, URL_SAFE, 90),
    "Terraform": lambda r: some(r, WORD, 14) + ".at" + "lasv1." + some(r, URL_SAFE, 67),
    "Azure storage": lambda r: "Account" + "Key=" + some(r, BASE64, 86) + "==",
    "Azure client": lambda r: some(r, WORD, 3) + "8" + "Q~" + some(r, WORD, 34),
    "Groq": lambda r: "gs" + "k_" + some(r, WORD, 52),
    "xAI": lambda r: "xa" + "i-" + some(r, WORD, 80),
    "Linear": lambda r: "lin" + "_api_" + some(r, WORD, 40),
    "Postman": lambda r: "PM" + "AK-" + some(r, HEX, 24) + "-" + some(r, HEX, 34),
    "New Relic": lambda r: "NR" + "AK-" + some(r, UPPER, 27),
    "Grafana": lambda r: "gl" + "sa_" + some(r, WORD, 32) + "_" + some(r, HEX, 8),
    "Docker": lambda r: "dckr" + "_pat_" + some(r, URL_SAFE, 27),
    "Pulumi": lambda r: "pu" + "l-" + some(r, HEX, 40),
    "Supabase": lambda r: "sb" + "p_" + some(r, HEX, 40),
    "Docker organisation": lambda r: "dckr_" + "oat_" + some(r, URL_SAFE, 32),
    "Slack web": lambda r: "xo" + "xc-" + some(r, string.digits, 12) + "-" + some(r, WORD, 24),
    "GitLab runner": lambda r: "GR" + "1348941" + some(r, URL_SAFE, 20),
    "Bitbucket": lambda r: "AT" + "BB" + some(r, WORD, 32),
    "Atlassian": lambda r: "ATA" + "TT3x" + some(r, URL_SAFE, 180),
    "Notion": lambda r: "nt" + "n_" + some(r, WORD, 46),
    "Artifactory": lambda r: "AK" + "Cp" + some(r, WORD, 69),
    "CircleCI": lambda r: "CCI" + "PAT_" + some(r, WORD, 22) + "_" + some(r, HEX, 40),
    "Buildkite": lambda r: "bk" + "ua_" + some(r, HEX, 40),
    "SonarQube": lambda r: "sq" + "p_" + some(r, HEX, 40),
    "Netlify": lambda r: "nf" + "p_" + some(r, WORD, 36),
    "Tailscale": lambda r: "tsk" + "ey-auth-" + some(r, WORD, 12) + "-" + some(r, WORD, 32),
    "Heroku": lambda r: "HR" + "KU-" + some(r, URL_SAFE, 60),
    "Fly": lambda r: "fo" + "1_" + some(r, URL_SAFE, 43),
    "Airtable": lambda r: "pa" + "t" + some(r, WORD, 14) + "." + some(r, HEX, 64),
    "HubSpot": lambda r: "pa" + "t-na1-" + _uuid(r),
    "Plaid": lambda r: "access" + "-production-" + _uuid(r),
    "Langfuse": lambda r: "sk-" + "lf-" + _uuid(r),
    "LaunchDarkly": lambda r: "sd" + "k-" + _uuid(r),
    "Pinecone": lambda r: "pc" + "sk_" + some(r, WORD, 6) + "_" + some(r, WORD, 63),
    "ElevenLabs": lambda r: "s" + "k_" + some(r, HEX, 48),
    "Replicate": lambda r: "r" + "8_" + some(r, WORD, 37),
    "Dynatrace": lambda r: "dt0" + "c01." + some(r, UPPER, 24) + "." + some(r, UPPER, 64),
    "Alibaba": lambda r: "LT" + "AI" + some(r, WORD, 20),
    "Tencent": lambda r: "AK" + "ID" + some(r, WORD, 32),
    "Sourcegraph": lambda r: "sg" + "p_" + some(r, HEX, 40),
    "New Relic licence": lambda r: some(r, HEX, 36) + "NR" + "AL",
    "Meta": lambda r: "EA" + "AB" + some(r, WORD, 120),
    "Mapbox": lambda r: "sk" + ".ey" + "J" + some(r, WORD, 60) + "." + some(r, URL_SAFE, 22),
    "1Password": lambda r: "op" + "s_ey" + "J" + some(r, URL_SAFE, 300),
    "Typeform": lambda r: "tf" + "p_" + some(r, WORD, 44),
    "NuGet": lambda r: "oy" + "2" + some(r, string.ascii_lowercase + string.digits, 43),
    "OpenShift": lambda r: "sha" + "256~" + some(r, URL_SAFE, 43),
    "Cloudflare origin": lambda r: "v1" + ".0-" + some(r, HEX, 24) + "-" + some(r, HEX, 146),
    "Age": lambda r: "AGE-SECRET" + "-KEY-1" + some(r, UPPER, 58),
    "JWT": _jwt,
    "PEM": _pem,
}
"""Secrets whose shape is proof."""


def password(rng: random.Random) -> str:
    """What people choose: a word with a number, or random characters with marks."""
    chosen = rng.choice(["hunter", "tr0ub4dor", "Winter", "letMe", "S3cr", "blueHorse"])
    marks = some(rng, WORD + "!#%+*^-_.", rng.randrange(10, 24))
    return rng.choice([f"{chosen}{rng.randrange(10, 9999)}", f"{chosen}!{rng.randrange(10, 99)}", "q" + marks + "7"])


HOLE = "§"
ASSIGNMENTS: Sequence[tuple[str, str, Callable[[random.Random], str]]] = (
    ("env file", "DB_PASSWORD=§\n", password),
    ("ini file", "password = §\n", password),
    ("yaml", "  password: §\n", password),
    ("json", '{"password": "§"}', password),
    ("json in json", '{\\"password\\": \\"§\\"}', password),
    ("python", 'connect(user="ada", password="§")', password),
    ("typed python", 'PASSWORD: str = "§"', password),
    ("javascript", "const cfg = { dbPassword: '§' };", password),
    ("ruby hash", "'password' => '§'", password),
    ("query string", "https://x.example/login?user=ada&password=§&x=1", password),
    ("connection string", "Server=db;User Id=ada;Password=§;Encrypt=yes", password),
    ("url", "postgres://ada:§@db.example:5432/app", password),
    ("url with query", "redis://:§@cache:6379/0", password),
    ("cli option", "mysql --user ada --password § shop", password),
    ("cli option with equals", "mysqldump --password=§ shop", password),
    ("curl", "curl -u ada:§ https://x.example", password),
    ("sql", "CREATE USER ada IDENTIFIED BY '§';", password),
    ("xml", "<password>§</password>", password),
    ("netrc", "machine x.example login ada password §", password),
    ("prose", "The password is § and it works.", password),
    ("aws secret", "aws_secret_access_key = §", lambda r: some(r, BASE64, 40)),
    ("api key", "API_KEY=§", lambda r: some(r, WORD, 24)),
    ("api key json", '"apiKey": "§"', lambda r: some(r, HEX, 32)),
    ("client secret", "client_secret: '§'", lambda r: some(r, URL_SAFE, 32)),
    ("secret key", 'SECRET_KEY = "§"', lambda r: some(r, WORD + "!@#$%^&*(-_=+)", 50).replace("@", "a")),
    ("token", 'auth_token = "§"', lambda r: some(r, WORD, 30)),
    ("bearer", "Authorization: Bearer §", lambda r: some(r, URL_SAFE, 40)),
    ("sentry dsn", "dsn='https://§@o12.ingest.sentry.io/42'", lambda r: some(r, HEX, 32)),
    ("azure sas", "https://x.blob.core.windows.net/a?sv=2024-11-04&sig=§&se=2027", lambda r: some(r, WORD, 43) + "%3D"),
    ("basic", "-H 'Authorization: Basic §'", lambda r: base64.b64encode(f"ada:{password(r)}".encode()).decode()),
)
"""Secrets known by what they are assigned to: name, text with a hole, and what fills it."""
