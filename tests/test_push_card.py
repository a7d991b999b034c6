"""What people write into a card on the Hub survives a push, and what distill generates is written anew."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pushing import REPO, make_run, paths, push_run, sent

from distill.push.card import digests, merged, sections

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # huggingface_hub's own

HEAD = "---\nlicense: mit\ntags:\n- reasoning\n---\n"
OURS = HEAD + "\n# Sums\n\n40 rows.\n\n## Made\n\nBy a program.\n\n## Licence\n\nmit\n"
NEWER = OURS.replace("40 rows", "50 rows")


def headings(card):
    return [heading for heading, _ in sections(card.split("---\n", 2)[2])]


WRITTEN = "version: 1.10\nday: 2024-13-45\nduration: 1:30\nnothing: ~\ngated: yes\nquoted: '1.10'\n"


def bomb(line):
    """Twenty lines of metadata that are ten to the power of twenty values."""
    lines = [line.format(0, "{k: v}").replace(": ", ": &b0 ", 1)]
    for step in range(1, 20):
        lines.append(line.format(step, ", ".join([f"*b{step - 1}"] * 10)).replace(": ", f": &b{step} ", 1))
    return "\n".join(lines)


CASES = {
    # name: what stands on the Hub, of what stood there after our last push; the same in the card that is pushed next
    "nothing": (lambda card: card, lambda card: card),
    "a section at the end": (lambda card: card + "\n## Thanks\n\nAda.\n", lambda card: card + "\n## Thanks\n\nAda.\n"),
    "a section between": (
        lambda card: card.replace("## Licence", "## Errata\n\n```\n# not a heading\n```\n\n## Licence"),
        lambda card: card.replace("## Licence", "## Errata\n\n```\n# not a heading\n```\n\n## Licence"),
    ),
    "a section before all": (
        lambda card: card.replace("# Sums", "# Read me first\n\nThis.\n\n# Sums"),
        lambda card: card.replace("# Sums", "# Read me first\n\nThis.\n\n# Sums"),
    ),
    "metadata": (
        lambda card: card.replace("- reasoning\n", "- reasoning\n- maths\nlanguage: en\n").replace(
            "license: mit", "license: cc0"
        ),
        lambda card: card.replace("- reasoning\n", "- reasoning\n- maths\nlanguage: en\n"),
    ),
    "a section of ours edited": (lambda card: card.replace("By a program.", "By me."), lambda card: card),
    "a section of ours deleted": (lambda card: card.replace("## Made\n\nBy a program.\n\n", ""), lambda card: card),
    "other line ends": (lambda card: card.replace("\n", "\r\n"), lambda card: card),
    "a card of their own": (
        lambda card: "# Mine\n\nHello.\n",
        lambda card: card.replace("\n# Sums", "\n# Mine\n\nHello.\n\n# Sums"),
    ),
    "metadata that is no mapping": (lambda card: card.replace(HEAD, "---\n- a\n---\n"), lambda card: card),
    "metadata behind an empty line": (
        lambda card: "\ufeff\n" + card.replace("license: mit", "license: cc0\nlanguage: en"),
        lambda card: card.replace("- reasoning\n", "- reasoning\nlanguage: en\n"),
    ),
    "metadata with aliases": (
        lambda card: card.replace("license: mit\n", "a: &a [x, y]\nb: [*a, *a]\nc: {<<: &d {e: 1}, f: *d}\n"),
        lambda card: card.replace(
            "- reasoning\n",
            "- reasoning\na:\n- x\n- y\nb:\n- - x\n  - y\n- - x\n  - y\nc:\n  e: 1\n  f:\n    e: 1\n",
        ),
    ),
    "metadata that changes where it is read": (
        lambda card: card.replace("license: mit\n", f"license: mit\n{WRITTEN}"),
        lambda card: card.replace("- reasoning\n", f"- reasoning\n{WRITTEN}"),
    ),
    "tags that are no list": (
        lambda card: card.replace("tags:\n- reasoning\n", "tags: maths\n"),
        lambda card: card.replace("- reasoning\n", "- reasoning\n- maths\n"),
    ),
    **{
        f"metadata that {what}": (lambda card, text=text: card.replace(HEAD, f"---\n{text}\n---\n"), lambda card: card)
        for what, text in {
            "explodes": bomb("b{}: [{}]"),
            "explodes in merges": bomb("b{}: {{<<: [{}]}}"),
            "holds itself": "a: &a [*a]",
            "is deeper than Python goes": "a: " + "[" * 9999,
            "is no YAML": "a: [",
        }.items()
    },
}


@pytest.mark.parametrize("name", CASES)
def test_what_people_wrote_stays_where_it_was(name):
    edit, wanted = CASES[name]
    card, replaced = merged(NEWER, edit(OURS), digests(OURS))
    assert card == wanted(NEWER)
    assert replaced == (["Made"] if name == "a section of ours edited" else [])


LINES = st.sampled_from(
    ["# Sums", "## Made", "## Licence", "# Mine", "## Mine", "### deep", "text", "", "```", "~~~~", "---"]
)
BODIES = st.lists(LINES, max_size=14).map("\n".join)


@given(
    ours=BODIES.filter(lambda body: "```" not in body and "~~~" not in body),
    theirs=BODIES,
    head=st.sampled_from(["", HEAD, "---\nx: 1\n---\n", "---\n"]),
)
def test_a_second_push_of_any_card_changes_nothing_and_loses_no_line_of_theirs(ours, theirs, head):
    ours, theirs = f"{HEAD}\n# Sums\n{ours}".rstrip("\n") + "\n", head + theirs
    known = digests(ours)
    once, _ = merged(ours, theirs, known)
    assert merged(ours, once, known)[0] == once
    assert set(digests(theirs)) <= set(digests(once))
    assert set(known) <= set(digests(once))


@pytest.fixture
def pushed(hub, tmp_path):
    make_run(tmp_path)
    assert push_run(tmp_path)[0] == 0
    return tmp_path


def edit(hub, change):
    files = hub.repos[REPO].files
    hub.repos[REPO].add({**files, "README.md": change(files["README.md"].decode()).encode()})


def test_a_section_of_a_persons_outlives_a_push_of_other_rows(hub, pushed):
    edit(hub, lambda card: card.replace("## Limitations", "## Errata\n\nRow 7 is wrong.\n\n## Limitations"))
    seen = len(hub.seen)
    assert push_run(pushed)[0] == 0
    assert {request.method for request in hub.seen[seen:]} <= {"GET", "HEAD"}, "their words are no reason to push"
    recipe = (pushed / "sums.yaml").read_text()
    make_run(pushed, recipe.replace("count: 40", "count: 30"))
    assert push_run(pushed)[0] == 0
    card = hub.repos[REPO].files["README.md"].decode()
    assert "of 30 problems" in card
    assert headings(card).index("Errata") + 1 == headings(card).index("Limitations")
    assert "Row 7 is wrong." in card
    assert len(hub.received("POST", "/repos/create")) == 1
    metadata = yaml.safe_load(card.split("---\n", 2)[1])
    assert (metadata["license"], metadata["size_categories"]) == ("apache-2.0", ["n<1K"])


def test_a_dry_run_shows_files_and_the_cards_lines_and_sends_nothing(hub, pushed):
    edit(hub, lambda card: card.replace("# Sums\n", "# Sums\n\x1b[2J").replace("mit |", "gpl |"))
    make_run(pushed, (pushed / "sums.yaml").read_text().replace("cc0-1.0", "cc-by-4.0"))
    before, state = len(hub.seen), dict(hub.repos[REPO].files)
    code, said = push_run(pushed, "--dry-run")
    assert code == 0, said
    assert {request.method for request in hub.seen[before:]} <= {"GET", "HEAD"}
    assert hub.repos[REPO].files == state
    for says in (
        "me/sums is there, private. Nothing was sent.",
        "rollouts/train-00000-of-00001.parquet",
        "recipe.yaml",
        "-| problems of distill/arithmetic | cc0-1.0 |",
        "+| problems of distill/arithmetic | cc-by-4.0 |",
        "edited on the Hub and would be written anew: 'Sums', 'Licence'",
    ):
        assert says in said, says
    assert "\x1b" not in said


def test_a_dry_run_of_a_new_repository_creates_none(hub, made):
    code, said = push_run(made, "--dry-run")
    assert code == 0, said
    assert not hub.repos
    assert {request.method for request in hub.seen} == {"GET"}
    for says in (
        "me/sums would be created, private. Nothing was sent.",
        "The card, which is new:",
        "+| the teacher's outputs | mit |",
    ):
        assert says in said, says


def test_files_of_others_stay_and_files_of_ours_that_are_gone_are_deleted(hub, pushed):
    hub.repos[REPO].add({**hub.repos[REPO].files, "notes/theirs.txt": b"mine"})
    make_run(pushed, (pushed / "sums.yaml").read_text().replace("rejected: true", "rejected: false"))
    assert push_run(pushed, "--no-report")[0] == 0
    (_, *operations) = sent(hub)[-1]
    deleted = {o["value"]["path"] for o in operations if o["key"] == "deletedFile"}
    assert deleted == {"rejected/train-00000-of-00001.parquet", "report.html"}
    assert not set(paths(operations)) & {"notes/theirs.txt", "dataset_info.json"}
    assert hub.repos[REPO].files["notes/theirs.txt"] == b"mine"


EASY = {"config_name": "easy", "data_files": "easy.parquet"}
JSON = {"data_files": "*.json"}
OWN_CONFIGS = {
    # name: (configs in the card on the Hub, those behind ours in the card that is pushed next)
    "a config": ([EASY], [EASY]),
    "one of ours edited": ([{"config_name": "default", "data_files": "old"}], []),
    "one that we do not write now": ([{"config_name": "rejected", "data_files": "rejected/train-*"}], []),
    "another default": ([{**EASY, "default": True}], [EASY]),
    "without a name": ([JSON], [{"config_name": "unnamed", **JSON}]),
    "with an empty name": ([{"config_name": None, **JSON}], [{"config_name": "unnamed", **JSON}]),
    "two without a name": (
        [JSON, {"config_name": "unnamed", **JSON}, JSON],
        [{"config_name": name, **JSON} for name in ("unnamed_2", "unnamed", "unnamed_3")],
    ),
    "a year": ([{"config_name": 2024, **JSON}], [{"config_name": 2024, **JSON}]),
    "no list": (EASY, [EASY]),
    "none": (None, []),
    "a word": ("easy", []),
    "a word in a list": (["?", EASY], [EASY]),
}


@pytest.mark.parametrize("name", OWN_CONFIGS)
def test_configs_that_people_add_stay_and_those_of_ours_are_renewed(name):
    def card(configs):
        return "---\n" + yaml.safe_dump({"tags": [], "configs": configs}) + "---\n\n# Sums\n"

    theirs, wanted = OWN_CONFIGS[name]
    ours = {"config_name": "default", "default": True, "data_files": "default/train-*"}
    told, _ = merged(card([ours]), card(theirs), {})
    assert yaml.safe_load(told.split("---\n")[1])["configs"] == [ours, *wanted]
    assert merged(card([ours]), told, {})[0] == told, "the next push changes nothing"
