import time

import pytest

from reasoning_bank.learning.step import Step
from reasoning_bank.learning.steps import read_steps
from reasoning_bank.records import JsonValue
from tests.learning.runs import BLOCKS, CANCEL, DISK, ROUNDING, SHELL, TAGGED, TRANSCRIPT


@pytest.mark.parametrize("nothing", [None, "", "  \n", [], {}, [None], [{}], [[]], "{}"])
def test_nothing_readable_gives_no_steps(nothing: JsonValue) -> None:
    assert read_steps(nothing) == []


def test_a_text_of_deeply_nested_json_gives_no_steps() -> None:
    assert read_steps("[" * 900 + "]" * 900) == []
    assert read_steps([{"action": "run", "observation": "[" * 100_000}]) == [
        Step(action="run", observation="[" * 100_000)
    ]


def test_thought_action_observation_make_one_step_each() -> None:
    steps = read_steps(ROUNDING)
    assert len(steps) == 8
    assert steps[1] == Step(action="python reproduce.py", observation="344")


def test_a_chat_keeps_what_the_agent_said_and_did_and_never_the_system_prompt() -> None:
    steps = read_steps(CANCEL)
    assert [step.tool for step in steps if step.tool] == ["get_user_details", "cancel_pending_order"]
    assert steps[0].observation.startswith('{"name": "Mia"')
    assert not any("shop assistant" in f"{step}" for step in steps)
    assert steps[-1].thought.startswith("Your order #W1 is cancelled.")


def test_content_blocks_carry_calls_results_and_errors() -> None:
    steps = read_steps(BLOCKS)
    assert [step.action.split(" ")[0] for step in steps] == ["npm", "str_replace_editor", "npm"]
    assert [step.failed for step in steps] == [True, None, False]
    assert steps[0].thought.startswith("The build fails because")


def test_commands_with_exit_codes_say_whether_they_failed() -> None:
    assert [step.failed for step in read_steps(DISK)] == [True, False, False]


@pytest.mark.parametrize(
    ("text", "actions"),
    [
        (TRANSCRIPT, ["grep -n parse src", "python run.py"]),
        (TAGGED, ["edit tax.py 12 total += net", "pytest -q"]),
        (SHELL, ["make test", "apt-get install gcc", "make test"]),
        ("**Action:** ls\n**Observation:** a\n", ["ls"]),
        ('{"steps": [{"tool": "search", "input": {"q": "x"}, "output": "y"}]}', ['search {"q": "x"}']),
        ('[{"name": "f", "arguments": {"a": 1}}]', ['f {"a": 1}']),
    ],
)
def test_text_is_read_by_its_marks(text: str, actions: list[str]) -> None:
    assert [step.action for step in read_steps(text)] == actions


@pytest.mark.parametrize("key", ["steps", "trajectory", "messages", "history", "Events"])
def test_steps_inside_an_object_are_found(key: str) -> None:
    assert len(read_steps({"id": 7, key: ROUNDING})) == 8


def test_an_object_of_no_known_shape_is_kept_as_a_result() -> None:
    assert read_steps({"reference_url": "__SITE__/x"}) == [Step(observation='{"reference_url": "__SITE__/x"}')]


SHAPES: dict[str, JsonValue] = {
    "fenced command and return code": [
        {
            "role": "assistant",
            "content": "THOUGHT: the list is empty because `load` never ran.\n\n```bash\npytest -q\n```",
        },
        {"role": "user", "content": "<returncode>1</returncode>\n<output>\nE   ValueError: empty\n</output>"},
    ],
    "history with message types": [
        {
            "role": "assistant",
            "content": "…",
            "thought": "The list is empty because `load` never ran.",
            "action": "pytest -q",
        },
        {"role": "user", "content": "E   ValueError: empty", "message_type": "observation"},
    ],
    "pairs of call and result": {
        "input": "x",
        "intermediate_steps": [
            [
                {"tool": "bash", "tool_input": {"command": "pytest -q"}, "thought": "Empty because."},
                "E   ValueError: empty",
            ]
        ],
    },
    "events of action and observation": [
        {"action": "run", "args": {"command": "pytest -q"}, "thought": "Empty because `load` never ran."},
        {"observation": "run", "content": "E   ValueError: empty", "extras": {"exit_code": 1}},
    ],
    "parts": [
        {
            "role": "model",
            "parts": [{"text": "Empty because."}, {"functionCall": {"name": "bash", "args": {"command": "pytest -q"}}}],
        },
        {
            "role": "function",
            "parts": [{"functionResponse": {"name": "bash", "response": {"output": "E   ValueError: empty"}}}],
        },
    ],
    "session log": [
        {
            "type": "assistant",
            "message": {"role": "assistant", "content": [{"type": "text", "text": "Empty because."}]},
        },
        {
            "type": "assistant",
            "message": {
                "role": "assistant",
                "content": [{"type": "tool_use", "name": "Bash", "input": {"command": "pytest -q"}}],
            },
        },
        {
            "type": "user",
            "message": {
                "role": "user",
                "content": [{"type": "tool_result", "is_error": True, "content": "E   ValueError: empty"}],
            },
        },
    ],
    "response items": [
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Empty because."}]},
        {"type": "function_call", "name": "shell", "arguments": '{"command": "pytest -q"}'},
        {"type": "function_call_output", "output": "E   ValueError: empty"},
    ],
    "replies in JSON": [
        {"role": "assistant", "content": '{"thought": "Empty because.", "action": "pytest -q"}'},
        {"role": "user", "content": "Observation: E   ValueError: empty"},
    ],
}


@pytest.mark.parametrize("name", SHAPES)
def test_every_common_framework_is_understood(name: str) -> None:
    (step,) = read_steps(SHAPES[name])
    assert "mpty because" in step.thought
    assert step.action.endswith("pytest -q") or '"pytest -q"' in step.action
    assert "ValueError: empty" in step.observation
    assert step.failed in {True, None}


@pytest.mark.parametrize(
    "hostile",
    [
        "<think>" * 100_000,
        "<think>a</think" * 60_000,
        "Action: " * 100_000,
        "Action:\n" * 100_000,
        "$ \n" * 100_000,
        [{"thought": "a" * 40}] * 20_000,
        [{"role": "assistant", "content": "a"}] * 50_000,
        "[" * 100_000,
        "{" * 100_000,
    ],
)
def test_hostile_trajectories_cost_linear_time(hostile: JsonValue) -> None:
    started = time.process_time()
    read_steps(hostile)
    assert time.process_time() - started < 5
