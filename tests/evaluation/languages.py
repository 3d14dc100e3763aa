"""What the default model, which is English, does with other languages: `python -m tests.evaluation.languages`.

Thirty questions in six languages, asked of thirty memories in the same languages, and of the same memories in English;
beside that, with keywords alone. A multilingual model is a setting: embeddings.backend = "sentence_transformers" with
embeddings.model naming one (the extra sentence-transformers brings the library).
"""

import asyncio
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reasoning_bank.embeddings.embedder import Embedder
from reasoning_bank.records import MemoryItem, Query, Stage
from reasoning_bank.retrieval.options import RetrievalOptions
from reasoning_bank.storage.database import Database
from tests.retrieval.bank import START, SmallBank, found

LOOKED_AT = 3
EVERYTHING: frozenset[Stage] = frozenset()
WORDS_ALONE: frozenset[Stage] = frozenset(("semantic",))
MEANING_ALONE: frozenset[Stage] = frozenset(("keyword", "entity", "temporal"))


@dataclass(frozen=True, slots=True)
class Pair:
    """A question, the memory that answers it, and that memory in English."""

    question: str
    memory: str
    english: str


PAIRS: Mapping[str, Sequence[Pair]] = {
    "German": (
        Pair(
            "Warum läuft der nächtliche Sicherungslauf auf dem Server nicht mehr?",
            "Die nächtliche Sicherung scheiterte, weil die Festplatte des Servers voll war; alte Sicherungen löschen",
            "The nightly backup failed because the disk of the server was full; delete old backups",
        ),
        Pair(
            "Kunden bekommen die Rechnung doppelt zugeschickt",
            "Rechnungen wurden zweimal verschickt, wenn der Kunde doppelt klickte; die Taste nach dem Absenden sperren",
            "Invoices were sent twice when the customer clicked submit twice; lock the button afterwards",
        ),
        Pair(
            "Umlaute werden beim Einlesen der Datei falsch dargestellt",
            "Sonderzeichen waren zerstört, weil die Datei nicht in UTF-8 gelesen wurde; die Kodierung angeben",
            "Special characters were garbled because the file was not read as UTF-8; name the encoding",
        ),
        Pair(
            "Wie ändere ich die Lieferadresse einer Bestellung?",
            "Die Adresse einer Bestellung lässt sich nur vor dem Versand ändern, unter Bestellungen, Einzelheiten",
            "The address of an order can only be changed before it is shipped, under orders, details",
        ),
        Pair(
            "Die Anmeldung läuft nach kurzer Zeit ab",
            "Benutzer wurden zu früh abgemeldet, weil die Sitzung nur zehn Minuten galt; die Gültigkeit verlängern",
            "Users were logged out too early because the session lasted ten minutes only; extend its life",
        ),
    ),
    "French": (
        Pair(
            "Pourquoi la page d'accueil met-elle si longtemps à s'afficher ?",
            "La page d'accueil était lente à cause d'images trop lourdes ; les compresser avant de les publier",
            "The home page was slow because of images that were too heavy; compress them before publishing",
        ),
        Pair(
            "Le test échoue seulement sur la machine d'intégration",
            "Un test échouait sur le serveur d'intégration car son fuseau horaire est différent ; fixer l'heure",
            "A test failed on the integration server because its time zone differs; fix the time in the test",
        ),
        Pair(
            "Comment annuler un abonnement payé d'avance ?",
            "Pour résilier un abonnement déjà payé, ouvrir le profil puis demander un remboursement au service client",
            "To cancel a subscription that is paid already, open the profile and ask support for a refund",
        ),
        Pair(
            "Deux processus écrivent dans le même fichier et le corrompent",
            "Le fichier était corrompu par deux écritures simultanées ; prendre un verrou avant d'écrire",
            "The file was corrupted by two writes at once; take a lock before writing",
        ),
        Pair(
            "La recherche ne trouve pas les produits avec des accents",
            "Les produits accentués manquaient aux résultats ; normaliser les accents dans l'index de recherche",
            "Products with accents were missing from the results; normalise accents in the search index",
        ),
    ),
    "Spanish": (
        Pair(
            "¿Por qué la base de datos rechaza nuevas conexiones?",
            "La base de datos alcanzó el límite de conexiones; cerrar las que no se usan y emplear un grupo compartido",
            "The database reached its limit of connections; close those not in use and share a pool",
        ),
        Pair(
            "El correo de bienvenida llega a la carpeta de basura",
            "Los correos acababan como basura por falta de firma en el dominio; publicar la clave de firma",
            "Mails ended as junk for want of a signature of the domain; publish the signing key",
        ),
        Pair(
            "La aplicación se cierra al girar el teléfono",
            "Al girar la pantalla del teléfono se perdía el estado y la aplicación se cerraba; guardar el estado antes",
            "Turning the screen of the phone lost the state and the app closed; save the state before",
        ),
        Pair(
            "¿Cómo encuentro el pedido más caro de un cliente?",
            "Para hallar el pedido más caro, ordenar los pedidos del cliente por importe de mayor a menor",
            "To find the most expensive order, sort the orders of the customer by amount, largest first",
        ),
        Pair(
            "Los precios aparecen sin decimales",
            "Los precios perdían los decimales porque se guardaban como enteros; guardarlos en céntimos",
            "Prices lost their decimals because they were kept as integers; keep them in cents",
        ),
    ),
    "Russian": (
        Pair(
            "Почему сборка проекта занимает целый час?",
            "Сборка проекта шла долго, потому что кэш зависимостей не сохранялся; хранить кэш между запусками",
            "The build of the project took long because the cache of dependencies was lost; keep it between runs",
        ),
        Pair(
            "Отчёт показывает вчерашние данные вместо сегодняшних",
            "В отчёте были старые данные: копия базы отставала; читать отчёт из основной базы",
            "The report had old data: the replica lagged behind; read the report from the primary database",
        ),
        Pair(
            "Как восстановить случайно удалённую ветку?",
            "Удалённую ветку можно вернуть: найти последний коммит в журнале и создать ветку заново",
            "A deleted branch can be brought back: find the last commit in the log and create the branch anew",
        ),
        Pair(
            "Пользователь не может загрузить большую фотографию",
            "Загрузка больших файлов обрывалась из-за ограничения размера на прокси; увеличить предел",
            "Uploads of large files broke off because of a size limit in the proxy; raise the limit",
        ),
        Pair(
            "Программа потребляет всё больше памяти",
            "Память утекала, потому что подписки на события не снимались; отписываться при закрытии окна",
            "Memory leaked because event listeners were never removed; remove them when the window closes",
        ),
    ),
    "Chinese": (
        Pair(
            "数据库连接超时怎么解决?",
            "数据库连接超时是因为连接池太小,把连接池的上限调大并设置重试",
            "The database connection timed out because the pool was too small; raise its limit and set retries",
        ),
        Pair(
            "为什么中文文件名下载后变成乱码?",
            "下载的中文文件名出现乱码,需要在响应头里写明编码",
            "Downloaded file names in Chinese were garbled; name the encoding in the response header",
        ),
        Pair(
            "购物车里的商品数量显示不对",
            "购物车数量错误是缓存没有更新造成的,修改商品后要清除缓存",
            "The count in the cart was wrong because the cache was stale; clear it after changing an item",
        ),
        Pair(
            "定时任务每天执行了两次",
            "定时任务重复执行,因为两台机器都启动了它,用锁保证只运行一次",
            "The scheduled job ran twice because two machines started it; a lock makes it run once",
        ),
        Pair(
            "手机页面上的按钮点了没有反应",
            "按钮在手机上无法点击,是被透明的图层挡住了,调整层级即可",
            "The button could not be tapped on phones because a transparent layer covered it; change the order",
        ),
    ),
    "Japanese": (
        Pair(
            "ログイン画面でパスワードを入れても先に進めない",
            "ログインできない原因はクッキーが無効だったこと。設定でクッキーを有効にする",
            "Login failed because cookies were disabled; enable cookies in the settings",
        ),
        Pair(
            "本番環境だけで画像が表示されない",
            "本番環境で画像が表示されないのはパスの大文字と小文字の違いが原因だった",
            "Images were not shown in production because of upper and lower case in the path",
        ),
        Pair(
            "検索結果の並び順が毎回変わってしまう",
            "検索結果の順序が安定しないときは、同点の場合に番号で並べる",
            "When the order of search results is unstable, sort ties by number",
        ),
        Pair(
            "夜中の集計処理が途中で止まる",
            "集計処理が止まったのはメモリ不足のため。データを分けて処理する",
            "The aggregation stopped for lack of memory; process the data in parts",
        ),
        Pair(
            "注文のキャンセル方法を知りたい",
            "注文をキャンセルするには、注文履歴を開いて取消ボタンを押す",
            "To cancel an order, open the order history and press the cancel button",
        ),
    ),
}


@dataclass(frozen=True, slots=True)
class Recall:
    """Shares of questions whose memory came first, or among the first three."""

    first: float
    among_three: float


async def recall(
    embedder: Embedder,
    path: Path,
    *,
    english: bool,
    without: frozenset[Stage] = EVERYTHING,
    floor: float | None = 0,
) -> dict[str, Recall]:
    """By language, what is found among all thirty memories.

    Args:
        embedder: the model.
        path: of a fresh bank.
        english: the memories are in English; else in the language of their question.
        without: parts of the rule to leave out.
        floor: least relevance; None for the default.
    """
    async with Database(path, durability="process", now=lambda: START) as database:
        bank = SmallBank(database, embedder)
        pairs = [(language, pair) for language, some in PAIRS.items() for pair in some]
        texts = [pair.english if english else pair.memory for _, pair in pairs]
        ids = await bank.store("w", *map(MemoryItem, texts))
        retriever = bank.retriever(options=RetrievalOptions(without=without, deadline_s=60))
        places: dict[str, list[int]] = defaultdict(list)
        for (language, pair), right in zip(pairs, ids, strict=True):
            answer = await found(retriever, "w", Query(pair.question, k=LOOKED_AT, min_score=floor))
            places[language].append(answer.index(right) if right in answer else LOOKED_AT)
    return {language: _recall(some) for language, some in places.items()}


def _recall(places: Sequence[int]) -> Recall:
    return Recall(sum(place == 0 for place in places) / len(places), sum(p < LOOKED_AT for p in places) / len(places))


def main() -> None:
    """Print recall by language."""
    import platformdirs

    from reasoning_bank.assets import Assets
    from reasoning_bank.embeddings.onnx import OnnxEmbedder

    assets = platformdirs.user_cache_path("reasoning-bank", appauthor=False) / "assets"
    embedder = OnnxEmbedder(assets=Assets(assets, allow_download=False))
    embedder.load()
    ways: dict[str, tuple[frozenset[Stage], float | None]] = {
        "all": (EVERYTHING, 0),
        "default floor": (EVERYTHING, None),
        "meaning alone": (MEANING_ALONE, 0),
        "words alone": (WORDS_ALONE, 0),
    }
    for english in (False, True):
        for name, (without, floor) in ways.items():
            with tempfile.TemporaryDirectory() as directory:
                path = Path(directory) / "bank.db"
                recalls = asyncio.run(recall(embedder, path, english=english, without=without, floor=floor))
            shown = "  ".join(f"{language} {one.first:.1f}/{one.among_three:.1f}" for language, one in recalls.items())
            mean = sum(one.among_three for one in recalls.values()) / len(recalls)
            print(f"memories {'in English' if english else 'in their language':17}  {name:13}  {shown}  R@3 {mean:.2f}")


if __name__ == "__main__":
    main()
