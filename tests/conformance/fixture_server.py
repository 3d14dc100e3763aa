"""Leg B: our factory, middleware, gate and runner, with the fixtures that the conformance scenarios call by name.

Legacy scenarios ask the client questions in the middle of a call, which needs a session; so this server is stateful,
the real one is not. Started by `python -m tests.conformance` as `python -m tests.conformance.fixture_server PORT`.
"""

import base64
import json
import sys
from typing import Annotated, Any, Literal

import anyio
from mcp import MCPError
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.prompts.base import UserMessage
from mcp.types import (
    INVALID_PARAMS,
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    AudioContent,
    CallToolResult,
    CreateMessageRequest,
    CreateMessageRequestParams,
    ElicitRequest,
    ElicitRequestFormParams,
    EmbeddedResource,
    EmptyResult,
    ImageContent,
    InputRequiredResult,
    ListRootsRequest,
    SamplingMessage,
    SetLevelRequestParams,
    SubscribeRequestParams,
    TextContent,
    TextResourceContents,
    UnsubscribeRequestParams,
)
from pydantic import BaseModel, Field

from reasoning_bank.mcp.auth import BearerGate
from reasoning_bank.mcp.http import HttpServer, listen, transport_security
from reasoning_bank.mcp.server import build_server, open_configured_bank
from reasoning_bank.settings import load_settings

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGNgYGAAAAAEAAH2FzhVAAAAAElFTkSuQmCC"
SILENCE = base64.b64encode(
    b"RIFF\x26\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0\x80\x3e\0\0\2\0\x10\0data\2\0\0\0\0\0"
).decode()
STEP_S = 0.05


def main(port: int) -> None:
    """Serves the fixtures on a loopback port until it is killed."""
    settings = load_settings(http={"port": port})
    server = build_server(open_configured_bank(settings), settings)
    for add in (add_contents, add_conversations, add_questions, add_resources, add_prompts, add_legacy_handlers):
        add(server)
    describe(server)
    application = server.streamable_http_app(
        streamable_http_path=settings.http.path,
        stateless_http=False,
        json_response=False,
        transport_security=transport_security(settings.http),
        host=settings.http.host,
    )
    anyio.run(HttpServer(BearerGate(application, _nobody, required=False)).serve, [listen(settings.http)])


def describe(server: MCPServer[Any]) -> None:
    """Gives every fixture a description, which the scenarios demand of tools and prompts."""
    for fixture in (*server._tool_manager.list_tools(), *server._prompt_manager.list_prompts()):
        fixture.description = fixture.description or f"Fixture of the conformance suite: {fixture.name}"


async def _nobody(_token: str) -> None:
    return None


def add_contents(server: MCPServer[Any]) -> None:  # noqa: C901 -- a list of fixtures
    """Tools that answer with every kind of content."""
    image = ImageContent(type="image", data=PIXEL, mime_type="image/png")

    def embedded(uri: str, mime_type: str, text: str) -> EmbeddedResource:
        return EmbeddedResource(type="resource", resource=TextResourceContents(uri=uri, mime_type=mime_type, text=text))

    @server.tool(structured_output=False)
    def test_simple_text() -> str:
        return "This is a simple text response for testing."

    @server.tool()
    def test_image_content() -> CallToolResult:
        return CallToolResult(content=[image])

    @server.tool()
    def test_audio_content() -> CallToolResult:
        return CallToolResult(content=[AudioContent(type="audio", data=SILENCE, mime_type="audio/wav")])

    @server.tool()
    def test_embedded_resource() -> CallToolResult:
        text = "This is an embedded resource content."
        return CallToolResult(content=[embedded("test://embedded-resource", "text/plain", text)])

    @server.tool()
    def test_multiple_content_types() -> CallToolResult:
        text = TextContent(type="text", text="Multiple content types test:")
        other = embedded("test://mixed-content-resource", "application/json", '{"test":"data","value":123}')
        return CallToolResult(content=[text, image, other])

    @server.tool(structured_output=False)
    def test_error_handling() -> str:
        raise ToolError("This tool intentionally returns an error for testing")

    @server.tool(structured_output=False)
    def json_schema_2020_12_tool() -> str:
        return "ok"

    tool = next(tool for tool in server._tool_manager.list_tools() if tool.name == "json_schema_2020_12_tool")
    tool.parameters = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {
            "address": {
                "$anchor": "addressDef",
                "type": "object",
                "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
            }
        },
        "properties": {
            "name": {"type": "string"},
            "address": {"$ref": "#/$defs/address"},
            "contactMethod": {"type": "string", "enum": ["phone", "email"]},
            "phone": {"type": "string"},
            "email": {"type": "string"},
        },
        "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
        "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
        "then": {"required": ["phone"]},
        "else": {"required": ["email"]},
        "additionalProperties": False,
    }


class UserResponse(BaseModel):
    response: Annotated[str, Field(description="User's response")]


class Defaults(BaseModel):
    name: str = "John Doe"
    age: int = 30
    score: float = 95.5
    status: Annotated[str, Field(json_schema_extra={"enum": ["active", "inactive", "pending"]})] = "active"
    verified: bool = True


def _titled(**titles: str) -> list[dict[str, str]]:
    return [{"const": const, "title": title} for const, title in titles.items()]


class Enums(BaseModel):
    untitledSingle: Annotated[str, Field(json_schema_extra={"enum": ["option1", "option2", "option3"]})]  # noqa: N815
    titledSingle: Annotated[str, Field(json_schema_extra={"oneOf": _titled(value1="First", value2="Second")})]  # type: ignore  # noqa: N815, PGH003
    legacyEnum: Annotated[  # noqa: N815
        str, Field(json_schema_extra={"enum": ["opt1", "opt2"], "enumNames": ["Option One", "Option Two"]})
    ]
    untitledMulti: Annotated[  # noqa: N815
        list[str], Field(json_schema_extra={"items": {"type": "string", "enum": ["option1", "option2"]}})
    ]
    titledMulti: Annotated[  # noqa: N815
        list[str], Field(json_schema_extra={"items": {"anyOf": _titled(value1="First", value2="Second")}})  # type: ignore  # noqa: PGH003
    ]


def add_conversations(server: MCPServer[Any]) -> None:  # noqa: C901 -- a list of fixtures
    """Tools that talk to the client while they run: progress, log lines, questions of the legacy era."""

    @server.tool(structured_output=False)
    async def test_tool_with_progress(ctx: Context) -> str:
        for step in (0, 50, 100):
            await ctx.report_progress(step, 100, f"Completed step {step} of 100")
            await anyio.sleep(STEP_S)
        return "done"

    async def logged(ctx: Context) -> str:
        for line in ("Tool execution started", "Tool processing data", "Tool execution completed"):
            await ctx.log("info", line)  # pyright: ignore[reportDeprecated] -- what the scenario is about
            await anyio.sleep(STEP_S)
        return "done"

    for name in ("test_tool_with_logging", "test_logging_tool"):
        server.add_tool(logged, name=name, structured_output=False)

    @server.tool(structured_output=False)
    async def test_sampling(prompt: str, ctx: Context) -> str:
        message = SamplingMessage(role="user", content=TextContent(type="text", text=prompt))
        result = await ctx.session.create_message(messages=[message], max_tokens=100)  # pyright: ignore[reportDeprecated]
        return f"LLM response: {getattr(result.content, 'text', '')}"

    @server.tool(structured_output=False)
    async def test_elicitation(message: str, ctx: Context) -> str:
        result = await ctx.elicit(message=message, schema=UserResponse)
        return f"User response: {result.action}"

    @server.tool(structured_output=False)
    async def test_elicitation_sep1034_defaults(ctx: Context) -> str:
        result = await ctx.elicit(message="Please review and update the form fields with defaults", schema=Defaults)
        return f"Elicitation completed: action={result.action}"

    @server.tool(structured_output=False)
    async def test_elicitation_sep1330_enums(ctx: Context) -> str:
        result = await ctx.elicit(message="Please select options from the enum fields", schema=Enums)
        return f"Elicitation completed: action={result.action}"


def _asked(message: str, **properties: str) -> ElicitRequest:
    schema = {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in properties.items()},
        "required": list(properties),
    }
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def _sampled(text: str) -> CreateMessageRequest:
    message = SamplingMessage(role="user", content=TextContent(type="text", text=text))
    return CreateMessageRequest(params=CreateMessageRequestParams(messages=[message], max_tokens=100))


QUESTIONS: dict[str, ElicitRequest | CreateMessageRequest | ListRootsRequest] = {
    "user_name": _asked("What is your name?", name="string"),
    "capital_question": _sampled("What is the capital of France?"),
    "client_roots": ListRootsRequest(),
    "confirm": _asked("Please confirm", ok="boolean"),
    "greeting": _sampled("Generate a greeting"),
    "step1": _asked("Step 1: What is your name?", name="string"),
    "step2": _asked("Step 2: What is your favorite color?", color="string"),
    "user_context": _asked("What context should the prompt use?", context="string"),
}
FLOWS: dict[str, tuple[tuple[str, ...], Literal["stateless", "stateful"]]] = {
    "test_input_required_result_elicitation": (("user_name",), "stateless"),
    "test_input_required_result_sampling": (("capital_question",), "stateless"),
    "test_input_required_result_list_roots": (("client_roots",), "stateless"),
    "test_input_required_result_request_state": (("confirm",), "stateful"),
    "test_input_required_result_tampered_state": (("confirm",), "stateful"),
    "test_input_required_result_multiple_inputs": (("user_name", "greeting", "client_roots"), "stateful"),
    "test_streaming_elicitation": (("user_name",), "stateless"),
}


def add_questions(server: MCPServer[Any]) -> None:
    """Tools of the modern era that need input before they can answer."""
    for name, (keys, state) in FLOWS.items():
        server.add_tool(_flow(keys, "round-1" if state == "stateful" else None), name=name, structured_output=False)

    @server.tool(structured_output=False)
    async def test_input_required_result_multi_round(ctx: Context) -> str | InputRequiredResult:
        answers = ctx.input_responses or {}
        if ctx.request_state == "round-2" and "step2" in answers:
            return "Both steps are done."
        if ctx.request_state == "round-1" and "step1" in answers:
            return InputRequiredResult(input_requests={"step2": QUESTIONS["step2"]}, request_state="round-2")
        return InputRequiredResult(input_requests={"step1": QUESTIONS["step1"]}, request_state="round-1")

    @server.tool(structured_output=False)
    async def test_input_required_result_capabilities(ctx: Context) -> str | InputRequiredResult:
        capabilities = ctx.client_capabilities
        wanted = {
            "user_name": capabilities is not None and capabilities.elicitation is not None,
            "greeting": capabilities is not None and capabilities.sampling is not None,
        }
        asked = {key: QUESTIONS[key] for key, declared in wanted.items() if declared}
        answers = ctx.input_responses or {}
        return "done" if asked.keys() <= answers.keys() else InputRequiredResult(input_requests=asked)

    @server.tool(structured_output=False)
    async def test_missing_capability(ctx: Context) -> str:
        if ctx.client_capabilities is None or ctx.client_capabilities.sampling is None:
            needed: dict[str, Any] = {"requiredCapabilities": {"sampling": {}}}
            raise MCPError(code=MISSING_REQUIRED_CLIENT_CAPABILITY, message="sampling is needed", data=needed)
        return "done"


def _flow(keys: tuple[str, ...], state: str | None) -> Any:
    async def flow(ctx: Context) -> str | InputRequiredResult:
        answers = ctx.input_responses or {}
        answered = all(_well_formed(answers.get(key)) for key in keys)
        if answered and state is not None and ctx.request_state != state:
            raise MCPError(code=INVALID_PARAMS, message="the request state is not ours")
        if answered:
            return "state-ok" if state else f"Hello, {json.dumps(sorted(keys))}!"
        return InputRequiredResult(input_requests={key: QUESTIONS[key] for key in keys}, request_state=state)

    return flow


def _well_formed(answer: object) -> bool:
    return answer is not None and (getattr(answer, "action", "accept") != "accept" or bool(vars(answer)))


def add_resources(server: MCPServer[Any]) -> None:
    """Static and templated resources."""

    @server.resource("test://static-text", mime_type="text/plain")
    def static_text() -> str:
        return "This is the content of the static text resource."

    @server.resource("test://static-binary", mime_type="image/png")
    def static_binary() -> bytes:
        return base64.b64decode(PIXEL)

    @server.resource("test://watched-resource", mime_type="text/plain")
    def watched_resource() -> str:
        return "Watched resource content"

    @server.resource("test://template/{id}/data", mime_type="application/json")
    def template(id: str) -> str:
        return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})


def add_prompts(server: MCPServer[Any]) -> None:
    """Prompts with every kind of content."""

    @server.prompt()
    def test_simple_prompt() -> str:
        return "This is a simple prompt for testing."

    @server.prompt()
    def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
        return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"

    @server.prompt()
    def test_prompt_with_embedded_resource(resourceUri: str) -> list[UserMessage]:  # noqa: N803 -- the scenario's name
        text = "Embedded resource content for testing."
        resource = TextResourceContents(uri=resourceUri, mime_type="text/plain", text=text)
        return [
            UserMessage(EmbeddedResource(type="resource", resource=resource)),
            UserMessage("Please process the embedded resource above."),
        ]

    @server.prompt()
    def test_prompt_with_image() -> list[UserMessage]:
        image = ImageContent(type="image", data=PIXEL, mime_type="image/png")
        return [UserMessage(image), UserMessage("Please analyze the image above.")]

    @server.prompt()
    async def test_input_required_result_prompt(ctx: Context) -> str | InputRequiredResult:
        if "user_context" in (ctx.input_responses or {}):
            return "Here is the prompt with its context."
        return InputRequiredResult(input_requests={"user_context": QUESTIONS["user_context"]})


def add_legacy_handlers(server: MCPServer[Any]) -> None:
    """Methods of the legacy era that the real server does not offer."""

    async def acknowledged(_ctx: Any, _params: Any) -> EmptyResult:
        return EmptyResult()

    low = server._lowlevel_server
    low.add_request_handler("logging/setLevel", SetLevelRequestParams, acknowledged)
    low.add_request_handler("resources/subscribe", SubscribeRequestParams, acknowledged)
    low.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, acknowledged)


if __name__ == "__main__":
    main(int(sys.argv[1]))
