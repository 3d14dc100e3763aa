"""Runs of agents as assistants report them: made up, in the shapes that real frameworks write."""

from reasoning_bank.records import JsonValue, NewTrace

ROUNDING: JsonValue = [
    {
        "thought": "Let me reproduce the issue first.",
        "action": "create reproduce.py",
        "observation": "[File: reproduce.py (1 lines total)]",
    },
    {"thought": "", "action": "python reproduce.py", "observation": "344"},
    {
        "thought": "The output should be 345. Let me look for the serializer.",
        "action": "find_file fields.py src",
        "observation": "/repo/src/clock/fields.py",
    },
    {
        "thought": "The root cause is that `_serialize` uses `int(value / unit)`, which truncates instead of rounding.",
        "action": "open src/clock/fields.py 1474",
        "observation": "1474: return int(value.total_seconds() / unit.total_seconds())\n"
        " raise ValueError('example in the file')",
    },
    {
        "thought": "We need to round here.",
        "action": "edit 1474:1474\n    return round(value.total_seconds() / unit.total_seconds())\nend_of_edit",
        "observation": "[File updated]",
    },
    {"thought": "Run it again.", "action": "python reproduce.py", "observation": "345"},
    {"thought": "", "action": "pytest tests/test_fields.py", "observation": "===== 120 passed in 3.2s ====="},
    {
        "thought": "",
        "action": "submit",
        "observation": "diff --git a/src/clock/fields.py b/src/clock/fields.py\n--- a/src/clock/fields.py\n"
        "+++ b/src/clock/fields.py\n@@ -1471,7 +1471,7 @@ class Duration(Field):\n"
        "-        return int(value.total_seconds() / unit.total_seconds())\n"
        "+        return round(value.total_seconds() / unit.total_seconds())\n",
    },
]
ROUNDING_TASK = "Title: Duration loses precision when serialized\n\nHi there! 345 milliseconds come out as 344."

CANCEL: JsonValue = [
    {"role": "system", "content": "You are a shop assistant. Always confirm before you change an order."},
    {"role": "user", "content": "Please cancel my last order."},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "1", "type": "function", "function": {"name": "get_user_details", "arguments": '{"user_id": "u7"}'}}
        ],
    },
    {"role": "tool", "tool_call_id": "1", "content": '{"name": "Mia", "orders": ["#W1"]}'},
    {"role": "assistant", "content": "The order is still pending, so it must be cancelled rather than returned."},
    {"role": "user", "content": "yes"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"function": {"name": "cancel_pending_order", "arguments": '{"order_id": "#W1", "reason": "no need"}'}}
        ],
    },
    {"role": "tool", "content": '{"order_id": "#W1", "status": "cancelled"}'},
    {"role": "assistant", "content": "Your order #W1 is cancelled. The refund goes to your gift card."},
]

DISK: JsonValue = [
    {"command": "pip install torch", "stdout": "", "stderr": "ERROR: No space left on device", "exit_code": 1},
    {"command": "pip cache purge", "stdout": "Files removed: 120", "exit_code": 0},
    {
        "command": "pip install torch --index-url https://download.example.org/cpu",
        "stdout": "Successfully installed torch-2.3",
        "exit_code": 0,
    },
]

TIMEOUT: JsonValue = [
    {"thought": "I will raise the timeout.", "action": "edit config.py timeout=60", "observation": "ok"},
    {"action": "pytest tests/test_api.py", "observation": "E   TimeoutError: request took longer than 60 s"},
    {"thought": "Further up.", "action": "edit config.py timeout=600", "observation": "ok"},
    {"action": "pytest tests/test_api.py", "observation": "E   TimeoutError: request took longer than 600 s"},
    {
        "thought": "The server never answers because the fixture holds the connection open;"
        " I should have checked the fixture instead of the timeout.",
        "action": "submit",
        "observation": "",
    },
]

BLOCKS: JsonValue = [
    {"role": "user", "content": [{"type": "text", "text": "The build is red."}]},
    {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "The build fails because `tsconfig.json` still targets es5."},
            {"type": "tool_use", "id": "t1", "name": "bash", "input": {"command": "npm run build"}},
        ],
    },
    {
        "role": "user",
        "content": [
            {
                "type": "tool_result",
                "tool_use_id": "t1",
                "is_error": True,
                "content": [{"type": "text", "text": "src/a.ts:3:1 - error TS2339: Property 'flat' does not exist"}],
            }
        ],
    },
    {
        "role": "assistant",
        "content": [
            {
                "type": "tool_use",
                "name": "str_replace_editor",
                "input": {"command": "str_replace", "path": "tsconfig.json", "old_str": "es5", "new_str": "es2019"},
            }
        ],
    },
    {"role": "user", "content": [{"type": "tool_result", "content": "edited"}]},
    {
        "role": "assistant",
        "content": [{"type": "tool_use", "name": "bash", "input": {"command": "npm run build"}}],
    },
    {"role": "user", "content": [{"type": "tool_result", "is_error": False, "content": "Build succeeded"}]},
]

TRANSCRIPT = (
    "Thought: it is the parser, I think.\nAction: grep -n parse src\nObservation: src/a.py:1: def parse\n"
    "Thought: not there\nAction: python run.py\nObservation: Traceback (most recent call last):\n"
    "  File \"a.py\", line 3, in <module>\nKeyError: 'id'\n"
)
TAGGED = (
    "<think>The sum is wrong because the tax is added twice.</think><action>edit tax.py 12 total += net</action>"
    "<observation>saved</observation><action>pytest -q</action><observation>12 passed</observation>"
)
SHELL = "$ make test\nerror: linker `cc` not found\n$ apt-get install gcc\nSetting up gcc\n$ make test\nOK, 12 passed\n"
STORY = (
    "Profiling showed that 80 % of the time went into json.loads per row. "
    "Batching 1,000 rows per transaction and reusing the parser cut it from 90 s to 7 s."
)
SENTENCES: JsonValue = [
    "Built the image with --no-cache",
    "Deployment failed: ImagePullBackOff",
    "Logged in to the registry with docker login",
    "Pushed the image again",
    "Pods are running now",
]
PATCH = (
    "diff --git a/app/cache.py b/app/cache.py\nindex 1..2 100644\n--- a/app/cache.py\n+++ b/app/cache.py\n"
    "@@ -10,6 +10,7 @@ def get(self, key):\n     with self.lock:\n-        return self.items[key]\n"
    "+        return self.items.get(key)\n"
)

RUNS: dict[str, NewTrace] = {
    "rounding": NewTrace(ROUNDING_TASK, "success", ROUNDING),
    "cancel": NewTrace("Cancel the last order of the user", "success", CANCEL),
    "disk": NewTrace("Install torch in the container", "success", DISK),
    "timeout": NewTrace("Fix the failing API test", "failure", TIMEOUT),
    "blocks": NewTrace("Make the build green", "success", BLOCKS),
    "transcript": NewTrace("Find the bug in the parser", "failure", TRANSCRIPT),
    "tagged": NewTrace("Invoice totals are too high", "success", TAGGED),
    "shell": NewTrace("Make the tests run on the new machine", "success", SHELL),
    "story": NewTrace("Speed up the importer", "success", STORY),
    "sentences": NewTrace("Deploy the new version", "success", SENTENCES),
    "patch": NewTrace("Cache raises KeyError for missing keys", "success", PATCH),
    "nested": NewTrace("Duration loses precision", "success", {"task": "x", "steps": ROUNDING, "model": "m"}),
    "json text": NewTrace("Install torch", "success", str(DISK).replace("'", '"')),
    "answer": NewTrace("Open the forum about space", "success", {"reference_url": "__SITE__/f/space"}),
}
