"""Builds the weight-less ONNX graph of a six-layer BERT sentence encoder (all-MiniLM-L6-v2).

The graph names its weights and says their shapes but holds none of them: 18 KB that live in the package, while the
90 MB of weights come from the user's assets and are injected when the session is made. Mean pooling and length
normalisation are part of it, so one run gives unit vectors. Run `python -m reasoning_bank.embeddings.graph` after
a change; it needs `onnx`, which nothing else does.

The layers are those of Devlin et al., BERT, 2018 (arXiv 1810.04805), with the fused attention, GELU and dynamic int8
operators of onnxruntime (domain com.microsoft).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from reasoning_bank.embeddings.weights import Precision, packed_name, scale_name

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto

_LAYERS = 6
_WIDTH = 384
_HEADS = 12
_INNER = 1536
_VOCABULARY = 30_522
_POSITIONS = 512
_LAYER_NORM_EPSILON = 1e-12
_TINY = 1e-12
"""Keeps a zero vector from being divided by zero."""
_FUSED = "com.microsoft"
_OPSET = 17
_IR_VERSION = 9


def packaged_graph(precision: Precision) -> bytes:
    """The graph kept in the package."""
    return resources.files("reasoning_bank.embeddings").joinpath("data", graph_name(precision)).read_bytes()


def graph_name(precision: Precision) -> str:
    """File name of the packaged graph."""
    return f"minilm-{precision}.onnx"


def build(precision: Precision) -> bytes:
    """The serialised graph.

    Inputs `input_ids` and `attention_mask`, (n, tokens) int64; output `embedding`, (n, 384) float32 unit rows.
    """
    from onnx import TensorProto, helper  # noqa: PLC0415 (a development tool; nothing at run time needs it)

    draft = _Draft(precision, [], [])
    hidden = _embed(draft)
    mask = draft.node("Cast", ["attention_mask"], "mask", to=TensorProto.INT32)
    for layer in range(_LAYERS):
        hidden = _layer(draft, layer, hidden, mask)
    _pool(draft, hidden)
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"])
        for name in ("input_ids", "attention_mask")
    ]
    outputs = [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", _WIDTH])]
    graph = helper.make_graph(draft.nodes, "minilm", inputs, outputs, draft.initializers)
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_FUSED, 1)]
    model = helper.make_model(graph, ir_version=_IR_VERSION, opset_imports=opsets)
    return model.SerializeToString(deterministic=True)


@dataclass(frozen=True, slots=True)
class _Draft:
    """The graph so far; every method returns the name of the value it added."""

    precision: Precision
    nodes: "list[NodeProto]"
    initializers: "list[TensorProto]"

    def node(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        from onnx import helper  # noqa: PLC0415

        fused = operator in {"MultiHeadAttention", "Gelu", "DynamicQuantizeMatMul"}
        domain = _FUSED if fused else ""
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, domain=domain, **attributes))
        return output

    def weight(self, name: str, shape: Sequence[int], kind: Literal["FLOAT", "INT8"] = "FLOAT") -> str:
        """Declares a tensor that the session gets injected: it has no bytes and its file does not exist."""
        from onnx import TensorProto  # noqa: PLC0415

        tensor = TensorProto(
            name=name, data_type=TensorProto.DataType.Value(kind), dims=shape, data_location=TensorProto.EXTERNAL
        )
        tensor.external_data.add(key="location", value="injected")
        self.initializers.append(tensor)
        return name

    def constant(self, name: str, value: float, shape: Sequence[int] = ()) -> str:
        from onnx import TensorProto, helper  # noqa: PLC0415

        kind = TensorProto.INT64 if isinstance(value, int) else TensorProto.FLOAT
        self.initializers.append(helper.make_tensor(name, kind, shape, [value]))
        return name

    def normalise(self, value: str, parameters: str, output: str) -> str:
        scale = self.weight(f"{parameters}.weight", [_WIDTH])
        shift = self.weight(f"{parameters}.bias", [_WIDTH])
        return self.node("LayerNormalization", [value, scale, shift], output, axis=-1, epsilon=_LAYER_NORM_EPSILON)

    def linear(self, value: str, parameters: str, shape: tuple[int, int], output: str) -> str:
        packed = packed_name(f"{parameters}.weight", self.precision)
        bias = f"{parameters}.bias"
        if self.precision == "fp32":
            product = self.node("MatMul", [value, self.weight(packed, shape)], f"{output}.product")
            return self.node("Add", [product, self.weight(bias, shape[1:])], output)
        matrix = self.weight(packed, shape, "INT8")
        scales = self.weight(scale_name(packed), shape[1:])
        # The empty input is the zero point: our weights are symmetric and have none.
        return self.node("DynamicQuantizeMatMul", [value, matrix, scales, "", self.weight(bias, shape[1:])], output)


def _embed(draft: _Draft) -> str:
    """Word, position and segment vectors added; every text is segment 0, so its vector is a constant."""
    one = draft.constant("one", 1)
    length = draft.node("Gather", [draft.node("Shape", ["input_ids"], "shape"), one], "length")
    position = draft.node("Range", [draft.constant("zero", 0), length, one], "position")
    places = draft.weight("embeddings.position_embeddings.weight", [_POSITIONS, _WIDTH])
    placed = draft.node("Add", [_words(draft), draft.node("Gather", [places, position], "place")], "placed")
    segment = draft.weight("embeddings.segment", [_WIDTH])
    return draft.normalise(draft.node("Add", [placed, segment], "summed"), "embeddings.LayerNorm", "hidden0")


def _words(draft: _Draft) -> str:
    name = packed_name("embeddings.word_embeddings.weight", draft.precision)
    if draft.precision == "fp32":
        return draft.node("Gather", [draft.weight(name, [_VOCABULARY, _WIDTH]), "input_ids"], "word")
    from onnx import TensorProto  # noqa: PLC0415

    rows = draft.node("Gather", [draft.weight(name, [_VOCABULARY, _WIDTH], "INT8"), "input_ids"], "word.row")
    scales = draft.node("Gather", [draft.weight(scale_name(name), [_VOCABULARY, 1]), "input_ids"], "word.scale")
    return draft.node("Mul", [draft.node("Cast", [rows], "word.float", to=TensorProto.FLOAT), scales], "word")


def _layer(draft: _Draft, number: int, hidden: str, mask: str) -> str:
    """One transformer layer: attention, then the feed-forward part, each added to its input and normalised."""
    at = f"encoder.layer.{number}"
    square = (_WIDTH, _WIDTH)
    parts = [
        draft.linear(hidden, f"{at}.attention.self.{part}", square, f"{part}{number}")
        for part in ("query", "key", "value")
    ]
    # The empty input is the bias, which is inside the three parts; the fifth masks the padding.
    seen = draft.node("MultiHeadAttention", [*parts, "", mask], f"attention{number}", num_heads=_HEADS)
    mixed = draft.linear(seen, f"{at}.attention.output.dense", square, f"mixed{number}")
    sum_ = draft.node("Add", [mixed, hidden], f"mixed.sum{number}")
    attended = draft.normalise(sum_, f"{at}.attention.output.LayerNorm", f"attended{number}")
    inner = draft.linear(attended, f"{at}.intermediate.dense", (_WIDTH, _INNER), f"inner{number}")
    outer = draft.linear(
        draft.node("Gelu", [inner], f"gelu{number}"), f"{at}.output.dense", (_INNER, _WIDTH), f"outer{number}"
    )
    sum_ = draft.node("Add", [outer, attended], f"outer.sum{number}")
    return draft.normalise(sum_, f"{at}.output.LayerNorm", f"hidden{number + 1}")


def _pool(draft: _Draft, hidden: str) -> str:
    """The sum over the tokens that are not padding, scaled to length 1; dividing by their count would cancel out."""
    from onnx import TensorProto  # noqa: PLC0415

    weights = draft.node("Cast", ["attention_mask"], "mask.float", to=TensorProto.FLOAT)
    weights = draft.node("Unsqueeze", [weights, draft.constant("last", -1, [1])], "mask.column")
    kept = draft.node("Mul", [hidden, weights], "kept")
    total = draft.node("ReduceSum", [kept, draft.constant("tokens.axis", 1, [1])], "total", keepdims=0)
    length = draft.node("ReduceL2", [total], "total.length", axes=[1], keepdims=1)
    size = draft.node("Max", [length, draft.constant("tiny", _TINY)], "size")
    return draft.node("Div", [total, size], "embedding")


def main() -> None:
    """Writes both graphs into the package's source."""
    folder = Path(__file__).parent / "data"
    folder.mkdir(exist_ok=True)
    for precision in ("fp32", "int8"):
        (folder / graph_name(precision)).write_bytes(build(precision))


if __name__ == "__main__":
    main()
